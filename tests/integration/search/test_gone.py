"""After its 204, nothing of a document is found, whatever runs at the same time."""

from __future__ import annotations

import asyncio
from uuid import UUID

import httpx
import pytest

from app.models.document import Document
from app.models.sql import fetch
from tests.integration.search.support import complete, indexed

TEXTS = [f"The gate number {n} opens at six." for n in range(12)]


@pytest.mark.parametrize("mode", ["keyword", "vector", "hybrid"])
async def test_no_search_that_begins_after_a_delete_finds_the_document(
    client: httpx.AsyncClient, mode: str
) -> None:
    ids = [await indexed(text) for text in TEXTS]
    gone: set[UUID] = set()

    async def search() -> None:
        while len(gone) < len(ids):
            before = set(gone)
            hits = (await client.post("/search", json={"query": "gate", "mode": mode, "context": 1})).json()[
                "hits"
            ]
            assert not before & {UUID(hit["document_id"]) for hit in hits}

    async def delete() -> None:
        for document_id in ids:
            assert (await client.delete(f"/documents/{document_id}")).status_code == 204
            gone.add(document_id)
            for part in ("", "/chunks", "/content", "/content?format=text"):
                assert (await client.get(f"/documents/{document_id}{part}")).status_code == 404

    await asyncio.gather(search(), search(), delete())


async def test_a_worker_that_completes_while_it_is_deleted_brings_nothing_back(
    client: httpx.AsyncClient,
) -> None:
    for text in TEXTS:
        await client.post("/ingest", json={"text": text})
    claimed = [await Document.claim(document.id, owner="a", lease_s=30) for document in await Document.all()]

    async def finish(document: Document) -> None:
        try:
            await complete(document, TEXTS[0])
        except AssertionError:
            return  # It came too late.

    await asyncio.gather(
        *(finish(document) for document in claimed if document),
        *(client.delete(f"/documents/{document.id}") for document in claimed if document),
    )

    for table in ("chunks", "chunk_words", "chunk_vectors", "documents"):
        assert [row["n"] for row in await fetch(f"SELECT count(*) AS n FROM {table}")] == [0]
    assert (await client.post("/search", json={"query": "gate"})).json() == {"hits": []}
    (left,) = await fetch("SELECT COALESCE(sum(chunks), 0) AS chunks FROM chunk_changes")
    assert left["chunks"] == 0
