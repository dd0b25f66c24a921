"""Documents that are completed together: in one transaction, each by its own fence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from app.core.config import Settings
from app.core.database import database
from app.errors import ModelChanged
from app.models import acceptance
from app.models.acceptance import NewDocument
from app.models.chunk import Chunk, NewChunk
from app.models.collection import Collection
from app.models.completion import Ingested
from app.models.document import Document
from app.models.sql import fetch
from app.services.together import SMALL_CHUNKS, Together
from tests.support import emptied_database

CHUNK = NewChunk("gate", 0, 4, None, None, (), 1, np.full(64, 0.125, np.float16))


@pytest.fixture(autouse=True)
async def opened(settings: Settings, migrated: None) -> AsyncIterator[None]:
    async with database(settings):
        await emptied_database()
        yield


async def claimed(name: str, *, collection: str = "default", lease_s: float = 30) -> Document:
    new = NewDocument(
        sha256=name.ljust(64, "0"),
        size_bytes=1,
        media_type="text/plain",
        content=b"x",
        collection=collection,
    )
    document = await Document.claim((await acceptance.accept(new)).document_id, owner="a", lease_s=lease_s)
    assert document is not None
    return document


def ingested(chunks: int = 1) -> Ingested:
    return Ingested(
        space_id=1, media_type="text/markdown", title="T", warnings=["w"], chunks=[CHUNK] * chunks
    )


async def test_small_ones_share_a_transaction_and_large_ones_have_their_own() -> None:
    sizes = {"a": 1, "b": 2, "c": 3, "d": SMALL_CHUNKS + 1}
    documents = {name: await claimed(name) for name in sizes}
    together = Together()

    done = await asyncio.gather(
        *(together.complete(documents[name], ingested(chunks)) for name, chunks in sizes.items())
    )

    assert done == [True] * 4
    rows = await fetch(
        """
        SELECT left(sha256, 1) AS name, d.xmin::text, status, chunk_count, media_type, warnings, title,
            (SELECT count(*) FROM chunks WHERE document_id = d.id AND xmin = d.xmin) AS chunks,
            (SELECT count(*) FROM chunk_vectors WHERE document_id = d.id AND xmin = d.xmin) AS vectors,
            (SELECT count(*) FROM chunk_words WHERE document_id = d.id AND xmin = d.xmin) AS words,
            (SELECT outcome FROM attempts WHERE document_id = d.id) AS outcome
        FROM documents AS d ORDER BY name
        """
    )
    xmins = [row.pop("xmin") for row in rows]
    assert xmins[0] == xmins[1] == xmins[2] != xmins[3]
    for row, (name, chunks) in zip(rows, sizes.items(), strict=True):
        assert row == {
            "name": name,
            "status": "COMPLETED",
            "chunk_count": chunks,
            "media_type": "text/markdown",
            "warnings": '["w"]',
            "title": "T",
            "chunks": chunks,
            "vectors": chunks,
            "words": chunks,
            "outcome": "completed",
        }


async def test_a_lost_lease_and_a_changed_model_cost_nobody_else_anything() -> None:
    first, lost, other, fine = [await claimed(name) for name in "abc"] + [await claimed("d", collection="e")]
    await Collection.filter(name="default").update(space_id=1)
    moved = await claimed("f", collection="moved")
    await fetch("INSERT INTO vector_spaces (id, embedder, model, dimensions) VALUES (9, 'hash', 'nine', 64)")
    await Collection.filter(name="moved").update(space_id=9)
    await lost.hand_back()
    together = Together()

    done = await asyncio.gather(
        *(together.complete(document, ingested()) for document in (first, lost, moved, other, fine)),
        return_exceptions=True,
    )

    assert isinstance(done[2], ModelChanged)
    assert [done[n] for n in (0, 1, 3, 4)] == [True, False, True, True]
    assert await Chunk.filter(document_id__in=[lost.id, moved.id]).count() == 0
    assert (await Document.get(id=moved.id)).status == "PROCESSING"
    await fetch("DELETE FROM documents WHERE collection = 'moved'")
    await fetch("DELETE FROM collections WHERE name = 'moved'")
    await fetch("DELETE FROM vector_spaces WHERE id = 9")
