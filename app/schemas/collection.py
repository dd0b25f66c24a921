"""Collections on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.core.config import EmbedderName
from app.models.collection import Collection, Contents
from app.models.document import DocumentStatus
from app.models.vector_space import VectorSpace
from app.schemas.ingest import StorableText, at_most_bytes

Name = Annotated[StorableText, AfterValidator(at_most_bytes(200))]


class CollectionSettings(BaseModel):
    """How a collection's documents are read. What is left out of a change stays as it is."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"language": "german"}]})

    language: StorableText | None = Field(
        default=None,
        max_length=63,
        description="Whose rules the words follow, for searches by keyword: a text search configuration of"
        " PostgreSQL; `simple` takes words as they are, of any language. `english` when nothing is said. It"
        " can be changed as long as there are no chunks.",
    )
    chunk_tokens: int | None = Field(
        default=None,
        ge=16,
        le=8192,
        description="Of a chunk, at most, in what is ingested from now on. CHUNK_TOKENS when null.",
    )
    overlap_tokens: int | None = Field(
        default=None,
        ge=0,
        le=4096,
        description="What a chunk shares with the one before, at most; up to half of `chunk_tokens`."
        " CHUNK_OVERLAP_TOKENS when null.",
    )
    embedder: EmbedderName | None = Field(
        default=None,
        description="What makes the vectors, with the model that this server is set up with for it; EMBEDDER"
        " when nothing is said. A collection with chunks is embedded anew in the background, and searched by"
        " its old vectors until all new ones are there; its chunks stay as they are.",
    )


class EmbeddingModel(BaseModel):
    """What makes a collection's vectors."""

    embedder: EmbedderName
    model: str
    dimensions: int

    @classmethod
    def of(cls, space: VectorSpace) -> Self:
        """The wire's view of a row."""
        return cls.model_validate(space, from_attributes=True)


class ReembeddingError(BaseModel):
    """Why a re-embedding does not get on."""

    code: str
    message: str
    retryable: bool
    hint: str


class ReembeddingProgress(BaseModel):
    """How far a collection has come on its way to another model."""

    embedding: EmbeddingModel
    since: datetime
    chunks_done: int
    chunks_total: int
    error: ReembeddingError | None = Field(
        description="Of the last try, when that failed; it is tried again by itself."
    )


class Deletion(BaseModel):
    """How far the deletion of a collection has come."""

    since: datetime
    documents_left: int


class CollectionResponse(BaseModel):
    """A collection with what is in it now."""

    name: str
    language: str
    chunk_tokens: int | None
    overlap_tokens: int | None
    embedding: EmbeddingModel | None = Field(description="Null until its first document is read.")
    created_at: datetime
    documents: dict[DocumentStatus, int] = Field(description="By status; those with none are left out.")
    chunks: int
    size_bytes: int = Field(description="Of the documents as they were sent.")
    reembedding: ReembeddingProgress | None = Field(description="Null, unless it is being embedded anew.")
    deletion: Deletion | None = Field(description="Null, unless it is being deleted.")

    @classmethod
    def of(cls, collection: Collection, contents: Contents, spaces: Mapping[int, VectorSpace]) -> Self:
        """The wire's view of a row; `spaces` are all that there are, by their ids."""
        own, following = (spaces.get(n or 0) for n in (collection.space_id, collection.next_space_id))
        return cls(
            name=collection.name,
            language=collection.language,
            chunk_tokens=collection.chunk_tokens,
            overlap_tokens=collection.overlap_tokens,
            embedding=None if own is None else EmbeddingModel.of(own),
            created_at=collection.created_at,
            documents={DocumentStatus(status): count for status, count in contents.documents.items()},
            chunks=contents.chunks,
            size_bytes=contents.size_bytes,
            reembedding=None
            if following is None or collection.reembedding_since is None
            else ReembeddingProgress(
                embedding=EmbeddingModel.of(following),
                since=collection.reembedding_since,
                chunks_done=contents.chunks_in.get(following.id, 0),
                chunks_total=contents.chunks,
                error=None
                if collection.reembedding_error is None
                else ReembeddingError.model_validate(collection.reembedding_error),
            ),
            deletion=None
            if collection.deleting_at is None
            else Deletion(since=collection.deleting_at, documents_left=sum(contents.documents.values())),
        )


class CollectionQuery(BaseModel):
    """Which collections to list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=50, ge=1, le=200)
    after: Name | None = Field(default=None, description="The last name of the page before.")


class CollectionPage(BaseModel):
    """Collections, by name."""

    collections: list[CollectionResponse]
    next_after: str | None = Field(description="Give it back as `after` for the next page; null on the last.")
