"""A passage of a document with its vector: what a search finds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import asyncpg
import numpy as np
from numpy.typing import NDArray
from pgvector import HalfVector
from tortoise import Model, fields
from tortoise.contrib.postgres.fields import ArrayField

from app.models.fields import HalfVectorField
from app.models.sql import fetch

if TYPE_CHECKING:
    from app.models.document import Document


#: The index is what takes its time: hundreds of chunks a second. So many are done well before the limit that
#: a statement has (core/database.py), also on a slow machine; and how long one goes on tells whether its
#: client is alive (backlog.end_silent_writers).
CHUNKS_PER_COPY = 500


class NewChunk(NamedTuple):
    """A chunk on its way into the database."""

    text: str
    char_start: int
    char_end: int
    page: int | None
    headings: tuple[str, ...]
    token_count: int
    embedding: NDArray[np.float16]  # (dimensions,), length 1.


class Chunk(Model):
    """`text` is `[char_start:char_end]` of the parsed text of its document's `version`."""

    id = fields.BigIntField(primary_key=True)
    document: fields.ForeignKeyRelation[Document] = fields.ForeignKeyField(
        "models.Document", related_name="chunks", on_delete=fields.CASCADE, db_index=False
    )
    document_id: UUID
    version = fields.IntField()
    ordinal = fields.IntField()
    text = fields.TextField()
    char_start = fields.IntField()
    char_end = fields.IntField()
    page = fields.IntField(null=True)
    headings = ArrayField(element_type="text", default=list)
    token_count = fields.IntField()
    embedding = HalfVectorField()

    class Meta:
        table = "chunks"

    @staticmethod
    async def remove(connection: asyncpg.Connection, document_id: UUID) -> None:
        """Delete all chunks of a document, inside the caller's transaction."""
        query = "DELETE FROM chunks WHERE document_id = $1"
        await connection.execute(query, document_id)

    @staticmethod
    async def vectors(document_id: UUID, texts: Sequence[str]) -> dict[str, NDArray[np.float16]]:
        """What a document's chunks have for these texts; a database holds the vectors of one model only."""
        rows = await fetch(
            "SELECT text, embedding FROM chunks WHERE document_id = $1 AND text = ANY($2::text[])",
            document_id,
            list(texts),
        )
        return {row["text"]: row["embedding"].to_numpy().astype(np.float16) for row in rows}

    @staticmethod
    async def store(
        connection: asyncpg.Connection, document_id: UUID, version: int, chunks: Sequence[NewChunk]
    ) -> None:
        """Copy a version's chunks into the table, inside the caller's transaction."""
        for first in range(0, len(chunks), CHUNKS_PER_COPY):
            some = enumerate(chunks[first : first + CHUNKS_PER_COPY], start=first)
            await connection.copy_records_to_table(
                "chunks",
                columns=COPIED_COLUMNS,
                records=(_record(document_id, version, ordinal, chunk) for ordinal, chunk in some),
            )


COPIED_COLUMNS = (
    "document_id",
    "version",
    "ordinal",
    "text",
    "char_start",
    "char_end",
    "page",
    "headings",
    "token_count",
    "embedding",
)


def _record(document_id: UUID, version: int, ordinal: int, chunk: NewChunk) -> tuple[Any, ...]:
    return (
        document_id,
        version,
        ordinal,
        chunk.text,
        chunk.char_start,
        chunk.char_end,
        chunk.page,
        chunk.headings,
        chunk.token_count,
        HalfVector(chunk.embedding),
    )
