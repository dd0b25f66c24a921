"""What several test modules need."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any
from uuid import UUID

import asyncpg
import numpy as np
from numpy.typing import NDArray
from tortoise import connections

from app.chunking.chunker import Chunker
from app.chunking.joining import gaps_between
from app.embedding.hash import HashEmbedder
from app.embedding.protocol import Embedder
from app.errors import StartupError
from app.models.chunk import NewChunk
from app.models.document import Document, Ingested
from app.models.sql import fetch
from app.parsing.parsed_document import ParsedDocument
from app.services.embedders import Embedders, Model
from app.storage.content_store import ContentStore, StoredContent, new_key

EMPTIED = """
    TRUNCATE chunk_changes, collections, api_keys, webhooks, webhook_deliveries CASCADE;
    -- Tests store chunks without the service that settles a collection in a space first.
    ALTER TABLE collections ALTER space_id SET DEFAULT 1;
    -- As after the migrations: the collection that a document is in when nothing is said.
    INSERT INTO collections (name) VALUES ('default')
"""


async def emptied_database() -> None:
    """Remove all documents, collections, keys and webhooks; the vector space of the tests' embedder stays."""
    while True:
        try:
            await connections.get("default").execute_script(EMPTIED)
            return
        except asyncpg.DeadlockDetectedError:
            pass  # A worker that has just started counts words, table by table in its own order.


def only(embedder: Embedder) -> Embedders:
    """For collections in the space of the tests' embedder, this one; no others."""

    async def none(_: object) -> Embedder:
        raise StartupError("There is no other.")

    return Embedders(Model(1, embedder), name="hash", open_named=none, open_again=none)


def as_pairs(embedder: Any) -> Callable[[str], list[tuple[int, int]]]:
    """Its `token_offsets`, as they are easily compared."""
    return lambda text: list(map(tuple, embedder.token_offsets(text).tolist()))


async def saved(store: ContentStore, content: bytes) -> StoredContent:
    """Stored, and held by nobody."""
    async with store.held(new_key(), BytesIO(content)) as stored:
        return stored


async def vectors_of(document_id: UUID) -> NDArray[np.float32]:
    """Those of its chunks, in their order: (chunks, dimensions)."""
    rows = await fetch(
        """
        SELECT v.embedding FROM chunks AS c JOIN chunk_vectors AS v ON v.chunk_id = c.id
        WHERE c.document_id = $1 ORDER BY c.ordinal
        """,
        document_id,
    )
    return np.array([row["embedding"].to_numpy() for row in rows], np.float32)


def indexing(text: str, *, overlap: int = 4, title: str | None = None) -> Ingested:
    """What a worker makes of a text: the real chunker's passages, with vectors that mean nothing."""
    chunker = Chunker(HashEmbedder().token_offsets, chunk_tokens=16, overlap_tokens=overlap, max_tokens=254)
    passages = chunker.split(ParsedDocument(text, "text/plain"))
    vector = np.zeros(HashEmbedder().dimensions, np.float16)
    vector[0] = 1
    chunks = [
        NewChunk(p.text, p.char_start, p.char_end, p.page, p.page_end, p.headings, p.token_count, vector, gap)
        for gap, p in zip(gaps_between(passages, text), passages, strict=True)
    ]
    return Ingested(space_id=1, media_type="text/plain", title=title, warnings=[], chunks=chunks)


async def indexed(document_id: UUID, text: str, *, overlap: int = 4) -> None:
    """Claim a document and complete it with the chunks of a text."""
    held = await Document.claim(document_id, owner="host:1", lease_s=30)
    assert held is not None
    assert await held.complete(indexing(text, overlap=overlap))
