"""What `POST /search` takes and answers."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.schemas.ingest import NOT_BLANK, StorableText, not_blank
from app.search.vector import Hit


class SearchRequest(BaseModel):
    """A question in plain words."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"query": "When does the upper gate open?", "top_k": 3}]},
    )

    query: Annotated[StorableText, AfterValidator(not_blank)] = Field(
        max_length=8000, json_schema_extra=NOT_BLANK
    )
    mode: Literal["vector"] = "vector"
    top_k: int = Field(default=10, ge=1, le=200)
    collections: list[StorableText] | None = Field(
        default=None, min_length=1, max_length=100, description="All, when left out."
    )


class Citation(BaseModel):
    """Where the passage stands."""

    title: str | None
    source: str | None
    page: int | None
    char_start: int
    char_end: int
    headings: list[str]


class SearchHit(BaseModel):
    """A passage that answers."""

    chunk_id: int
    document_id: UUID
    version: int
    collection: str
    text: str
    score: float = Field(description="Cosine similarity, from -1 to 1.")
    citation: Citation
    metadata: dict[str, Any]

    @classmethod
    def of(cls, hit: Hit) -> Self:
        """The wire's view of a hit."""
        return cls(
            chunk_id=hit.chunk_id,
            document_id=hit.document_id,
            version=hit.version,
            collection=hit.collection,
            text=hit.text,
            score=hit.score,
            citation=Citation(
                title=hit.title,
                source=hit.source_name or hit.external_id,
                page=hit.page,
                char_start=hit.char_start,
                char_end=hit.char_end,
                headings=hit.headings,
            ),
            metadata=hit.metadata,
        )


class SearchResponse(BaseModel):
    """The hits, best first."""

    hits: list[SearchHit]
