"""Fills a database with documents that are COMPLETED, as `accept` and `complete` leave them.

A few hundred are really accepted, claimed and completed; all others are copies of their rows, in every table,
under ids, contents and times of their own.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping

import asyncpg
import numpy as np

from app.core.config import Settings
from app.core.database import database, migrate
from app.models import acceptance, backlog
from app.models.acceptance import NewDocument
from app.models.chunk import NewChunk
from app.models.collection import Collection
from app.models.document import Ingested
from app.models.vector_space import VectorSpace

SEEDS = 500
WORDS = 30
DIMENSIONS = 64
OWNER, LEASE_S = "bench:1", 300

#: What a copy has that is not its seed's; what is left out gets its default.
COPIED: Mapping[str, Mapping[str, str]] = {
    "documents": {
        "id": "copies.id",
        "sha256": "md5('a' || n) || md5('b' || n)",
        "created_at": "t.created_at - (last - n) * interval '20 ms'",
        "updated_at": "t.updated_at - (last - n) * interval '20 ms'",
        "completed_at": "t.completed_at - (last - n) * interval '20 ms'",
    },
    "document_contents": {"document_id": "copies.id"},
    "attempts": {"document_id": "copies.id"},
    "document_events": {"document_id": "copies.id"},
    "chunks": {"id": "copies.chunk_id", "document_id": "copies.id"},
    "chunk_words": {"chunk_id": "copies.chunk_id", "document_id": "copies.id"},
    "chunk_vectors": {"chunk_id": "copies.chunk_id", "document_id": "copies.id"},
}
DEFAULTS = {"attempts": {"id"}, "document_events": {"id", "xid"}}


class Texts:
    """Small documents, each with a word that no other has."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._made = 0
        self._chance = random.Random(name)
        self._words = ["".join(self._chance.choices("abcdefghijklmnoprst", k=6)) for _ in range(5000)]

    def next(self) -> str:
        self._made += 1
        return f"{self._name}{self._made} {' '.join(self._chance.choices(self._words, k=WORDS))}"


def offered(text: str) -> NewDocument:
    """As the API offers it."""
    content = text.encode()
    return NewDocument(
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        media_type="text/plain",
        content=content,
        source_name="note.txt",
    )


def ingested(text: str, space_id: int) -> Ingested:
    """As a worker makes it: one chunk."""
    vector = np.zeros(DIMENSIONS, np.float16)
    vector[len(text) % DIMENSIONS] = 1
    chunk = NewChunk(text, 0, len(text), None, None, (), WORDS, vector)
    return Ingested(media_type="text/plain", title=None, warnings=[], chunks=[chunk], space_id=space_id)


async def fill(settings: Settings, documents: int) -> int:
    """Tables, and so many documents in them; the id of the space that their vectors are in."""
    await migrate(settings)
    async with database(settings):
        space = await VectorSpace.adopt("hash", f"hash-{DIMENSIONS}", DIMENSIONS)
        await Collection.settled("default", space.id)
        await seed(space.id)
    connection = await asyncpg.connect(settings.DATABASE_URL)
    try:
        await copy(connection, documents - SEEDS)
    finally:
        await connection.close()
    return space.id


async def seed(space_id: int) -> None:
    """Those that the others are copies of."""
    texts = Texts("seed")
    for _ in range(SEEDS):
        text = texts.next()
        await acceptance.accept(offered(text))
        document = await backlog.claim_due(owner=OWNER, lease_s=LEASE_S)
        assert document is not None
        assert await document.complete(ingested(text, space_id))


async def copy(connection: asyncpg.Connection, documents: int) -> None:
    """So many more, in turn of each that is there; then all is counted and on the disk."""
    # Neither triggers nor foreign keys: what the first would write is copied, and the second holds.
    await connection.execute("SET session_replication_role = replica; SET synchronous_commit = off")
    await connection.execute(
        f"""
        CREATE TEMP TABLE copies AS
        WITH seeds AS (
            SELECT row_number() OVER (ORDER BY d.id) - 1 AS number, d.id, c.id AS chunk_id
            FROM documents AS d JOIN chunks AS c ON c.document_id = d.id
        )
        SELECT n, {documents:d} AS last, seeds.id AS seed_id, seeds.chunk_id AS seed_chunk_id, uuidv7() AS id,
            nextval('chunks_id_seq') AS chunk_id
        FROM generate_series(1, {documents:d}) AS n JOIN seeds ON seeds.number = n % {SEEDS};
        ANALYZE copies
        """
    )
    for table in COPIED:
        await connection.execute(await copying(connection, table))
    await connection.execute(
        "UPDATE collections SET chunks = (SELECT count(*) FROM chunks), changed_chunks = 0"
    )
    await connection.execute("DELETE FROM chunk_changes")
    for statement in ("VACUUM ANALYZE", "CHECKPOINT"):
        await connection.execute(statement)


async def copying(connection: asyncpg.Connection, table: str) -> str:
    """The statement that copies a table's rows."""
    rows = await connection.fetch(
        "SELECT attname AS name FROM pg_attribute"
        " WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''",
        table,
    )
    columns = [row["name"] for row in rows if row["name"] not in DEFAULTS.get(table, ())]
    values = [COPIED[table].get(name, f"t.{name}") for name in columns]
    key = "id" if table == "documents" else "document_id"
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)}"
        f" FROM copies JOIN {table} AS t ON t.{key} = copies.seed_id ORDER BY n"
    )
