"""A passage of a document with its vector: what a search finds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self
from uuid import UUID

import asyncpg
import numpy as np
from numpy.typing import NDArray
from pgvector import HalfVector
from tortoise import Model, fields
from tortoise.contrib.postgres.fields import ArrayField

from app.models import chunk_words
from app.models.chunk_words import Said
from app.models.collection import Collection
from app.models.sql import fetch

if TYPE_CHECKING:
    from app.models.document import Document


#: So many are stored well before the limit that a statement has (core/database.py), also on a slow machine;
#: and how long one goes on tells whether its client is alive (backlog.end_silent_writers).
CHUNKS_PER_COPY = 500


class NewChunk(NamedTuple):
    """A chunk on its way into the database."""

    text: str
    char_start: int
    char_end: int
    page: int | None
    page_end: int | None
    headings: tuple[str, ...]
    token_count: int
    embedding: NDArray[np.float16]  # (dimensions,), length 1.
    gap: str = ""  # White space between the end of all chunks before and this one.


class NewChunks(Protocol):
    """Those of a document, in their order, as often as one goes over them: a list, or made while one does."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[NewChunk]: ...


class Stored(NamedTuple):
    """A document's version with all its chunks, whose vectors are of one space."""

    document_id: UUID
    version: int
    collection: Collection
    space_id: int
    chunks: NewChunks
    title: str | None = None  # What the document will be cited by.


class Chunk(Model):
    """`text` is `[char_start:char_end]` of the parsed text of its document's `version`.

    Its vector and its words lie in tables of their own, `chunk_vectors` and `chunk_words`: a search by the
    one does not have to read the other.
    """

    id = fields.BigIntField(primary_key=True)
    document: fields.ForeignKeyRelation[Document] = fields.ForeignKeyField(
        "models.Document", related_name="chunks", on_delete=fields.CASCADE, db_index=False
    )
    document_id: UUID
    version = fields.IntField()
    ordinal = fields.IntField()
    gap = fields.TextField(default="")
    text = fields.TextField()
    char_start = fields.IntField()
    char_end = fields.IntField()
    page = fields.IntField(null=True)
    page_end = fields.IntField(null=True)  # Read `last_page`.
    headings = ArrayField(element_type="text", default=list)
    token_count = fields.IntField()

    class Meta:
        table = "chunks"

    @property
    def last_page(self) -> int | None:
        """Where it ends; of a chunk that is older than the column, the page that is known."""
        return self.page if self.page_end is None else self.page_end

    @classmethod
    async def of_version(cls, document_id: UUID, version: int, *, after: int, limit: int) -> list[Self]:
        """The chunks behind the ordinal `after`, in their order; none when the version is indexed no more."""
        return (
            await cls.filter(document_id=document_id, version=version, ordinal__gt=after)
            .order_by("ordinal")
            .limit(limit)
        )

    @staticmethod
    async def remove(connection: asyncpg.Connection, document_ids: Sequence[UUID]) -> None:
        """Delete all chunks of these documents, inside the caller's transaction."""
        for table in ("chunk_vectors", "chunk_words", "chunks"):
            await connection.execute(f"DELETE FROM {table} WHERE document_id = ANY($1)", document_ids)

    @staticmethod
    async def vectors(
        document_id: UUID, texts: Sequence[str], *, space_id: int
    ) -> dict[str, NDArray[np.float16]]:
        """What a document's chunks have for these texts in the space."""
        rows = await fetch(
            """
            SELECT c.text, v.embedding FROM chunks AS c JOIN chunk_vectors AS v ON v.chunk_id = c.id
            WHERE c.document_id = $1 AND c.text = ANY($2::text[]) AND v.space_id = $3
            """,
            document_id,
            list(texts),
            space_id,
        )
        return {row["text"]: row["embedding"].to_numpy().astype(np.float16) for row in rows}

    @staticmethod
    async def store(connection: asyncpg.Connection, documents: Sequence[Stored]) -> AsyncIterator[int]:
        """Store chunks with vectors and words, inside the caller's transaction.

        The words are of the collections' languages; a document's title is among the words of its first
        chunk.

        Yields:
            How many chunks are stored by now, from time to time.
        """
        count = 0
        rows = (
            (stored, ordinal, chunk) for stored in documents for ordinal, chunk in enumerate(stored.chunks)
        )
        while some := list(islice(rows, CHUNKS_PER_COPY)):
            ids = [row["id"] for row in await connection.fetch(NEXT_IDS, len(some))]
            await connection.copy_records_to_table(
                "chunks",
                columns=CHUNK_COLUMNS,
                records=(_record(id_, *row) for id_, row in zip(ids, some, strict=True)),
            )
            await connection.copy_records_to_table(
                "chunk_vectors",
                columns=("chunk_id", "space_id", "document_id", "embedding"),
                records=(
                    (id_, stored.space_id, stored.document_id, HalfVector(chunk.embedding))
                    for id_, (stored, _, chunk) in zip(ids, some, strict=True)
                ),
            )
            said = [_said(id_, *row) for id_, row in zip(ids, some, strict=True)]
            await chunk_words.store(connection, said)
            yield (count := count + len(some))


NEXT_IDS = "SELECT nextval('chunks_id_seq') AS id FROM generate_series(1, $1)"

CHUNK_COLUMNS = (
    "id",
    "document_id",
    "version",
    "ordinal",
    "gap",
    "text",
    "char_start",
    "char_end",
    "page",
    "page_end",
    "headings",
    "token_count",
)


def _said(chunk_id: int, stored: Stored, ordinal: int, chunk: NewChunk) -> Said:
    return Said(
        chunk_id,
        stored.document_id,
        chunk.text,
        chunk.headings,
        None if ordinal else stored.title,
        stored.collection.id,
        stored.collection.language,
        stored.collection.weighed_length,
    )


def _record(chunk_id: int, stored: Stored, ordinal: int, chunk: NewChunk) -> tuple[Any, ...]:
    return (
        chunk_id,
        stored.document_id,
        stored.version,
        ordinal,
        chunk.gap,
        chunk.text,
        chunk.char_start,
        chunk.char_end,
        chunk.page,
        chunk.page_end,
        chunk.headings,
        chunk.token_count,
    )
