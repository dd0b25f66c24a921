"""What `POST /search` takes and answers."""

from __future__ import annotations

from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.schemas.filters import FilterPart, checked
from app.schemas.ingest import NOT_BLANK, StorableText, not_blank
from app.search.hits import Hit
from app.services.search_service import Mode, Search


class SearchRequest(BaseModel):
    """A question in plain words."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"query": "When does the upper gate open?", "top_k": 3},
                {
                    "query": 'gate "high water" -winter',
                    "mode": "keyword",
                    "filter": {"field": "metadata.season", "in": ["spring", "summer"]},
                },
            ]
        },
    )

    query: Annotated[StorableText, AfterValidator(not_blank)] = Field(
        max_length=8000, json_schema_extra=NOT_BLANK
    )
    mode: Mode = Field(
        default="hybrid",
        description='`keyword`: by words (BM25); "phrases" have to be there, -words must not. `vector`: by'
        " meaning. `hybrid`: both, fused by rank.",
    )
    top_k: int = Field(default=10, ge=1, le=200)
    collections: list[StorableText] | None = Field(
        default=None, min_length=1, max_length=100, description="All, when left out."
    )
    filter: Annotated[FilterPart, AfterValidator(checked)] | None = Field(
        default=None, description="Only documents that this holds for."
    )
    min_score: float | None = Field(
        default=None,
        allow_inf_nan=False,
        description="Leave out hits with a lower `score`; in `hybrid`, that is by rank and not by relevance.",
    )
    max_per_document: int | None = Field(
        default=None, ge=1, le=200, description="At most so many hits of one."
    )
    context: int = Field(
        default=0, ge=0, le=5, description="Add so many chunks before and after each hit, as one text."
    )
    ef_search: int | None = Field(
        default=None, ge=1, le=1000, description="How far the vector index looks; 200 when left out."
    )
    exact: bool = Field(
        default=False, description="Look at every vector, and every chunk with a word, whatever it takes."
    )
    rerank: bool = Field(
        default=False, description="Let the reranker order the best 50; `score` is then its own."
    )

    def asked(self) -> Search:
        """The request in the words of the service."""
        return Search(
            query=self.query,
            mode=self.mode,
            top_k=self.top_k,
            collections=self.collections,
            filter=None if self.filter is None else self.filter.filter(),
            min_score=self.min_score,
            max_per_document=self.max_per_document,
            context=self.context,
            ef_search=self.ef_search,
            is_exact=self.exact,
            rerank=self.rerank,
        )


class Citation(BaseModel):
    """Where the passage stands."""

    title: str | None
    source: str | None
    page: int | None = Field(description="Where it begins; null in formats without pages.")
    page_end: int | None = Field(description="Where it ends: equal to `page` within one.")
    char_start: int
    char_end: int
    headings: list[str]


class Leg(BaseModel):
    """Where one way of searching saw the hit."""

    rank: int = Field(description="From 1.")
    score: float = Field(description="`vector`: the cosine, from -1 to 1. `keyword`: BM25, from 0.")


class Highlight(BaseModel):
    """A word of the query, in whatever form: characters `[start:end]` of the hit's `text`."""

    start: int
    end: int


class Context(BaseModel):
    """The hit with its neighbours: `[char_start:char_end]` of the document's text."""

    text: str
    char_start: int
    char_end: int
    page: int | None = Field(description="Where all of it begins.")
    page_end: int | None


class SearchHit(BaseModel):
    """A passage that answers."""

    chunk_id: int
    document_id: UUID
    version: int
    collection: str
    external_id: str | None = Field(description="What its document is called by who sent it: a path, mostly.")
    text: str
    score: float = Field(
        description="`hybrid`: 1 for the first in both rankings, down to 0. `vector`, `keyword`: the leg's"
        " own; with `rerank`: the reranker's."
    )
    legs: dict[str, Leg] = Field(description="`keyword` and `vector`, as far as they found it.")
    citation: Citation
    highlights: list[Highlight]
    context: Context | None
    metadata: dict[str, Any]

    @classmethod
    def of(cls, hit: Hit) -> Self:
        """The wire's view of a hit."""
        return cls(
            chunk_id=hit.chunk_id,
            document_id=hit.document_id,
            version=hit.version,
            collection=hit.collection,
            external_id=hit.external_id,
            text=hit.text,
            score=hit.score,
            legs={name: Leg(rank=place.rank, score=place.score) for name, place in hit.legs.items()},
            highlights=[Highlight(start=span.start, end=span.end) for span in hit.highlights],
            context=None if hit.context is None else Context(**hit.context._asdict()),
            citation=Citation(
                title=hit.title,
                source=hit.source_name or hit.external_id,
                page=hit.page,
                page_end=hit.page_end,
                char_start=hit.char_start,
                char_end=hit.char_end,
                headings=hit.headings,
            ),
            metadata=hit.metadata,
        )


class SearchResponse(BaseModel):
    """The hits, best first."""

    hits: list[SearchHit]
