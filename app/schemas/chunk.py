"""How the chunks of a document look on the wire."""

from __future__ import annotations

from typing import Self
from uuid import UUID

from pydantic import BaseModel, Field

from app.models.chunk import Chunk


class ChunkResponse(BaseModel):
    """A passage, as searches find it."""

    chunk_id: int
    ordinal: int = Field(description="From 0, without gaps.")
    version: int
    text: str
    char_start: int = Field(description="`text` is `[char_start:char_end]` of the document's text.")
    char_end: int
    page: int | None = Field(description="Where it begins; null in formats without pages.")
    page_end: int | None = Field(description="Where it ends: equal to `page` within one.")
    headings: list[str]
    token_count: int

    @classmethod
    def of(cls, chunk: Chunk) -> Self:
        """The wire's view of a row."""
        return cls(
            chunk_id=chunk.id,
            ordinal=chunk.ordinal,
            version=chunk.version,
            text=chunk.text,
            char_start=chunk.char_start,
            char_end=chunk.char_end,
            page=chunk.page,
            page_end=chunk.last_page,
            headings=chunk.headings,
            token_count=chunk.token_count,
        )


class ChunkPage(BaseModel):
    """Chunks of one version, in their order."""

    document_id: UUID
    version: int | None = Field(description="The one that searches find; null when there is none yet.")
    chunks: list[ChunkResponse]
    next_cursor: str | None  # Give it back as `cursor` for the next page; null on the last one.
