"""Nearest chunks: the right ones, in order, and as many as asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

import numpy as np
import pytest
from numpy.typing import NDArray
from tortoise import connections

from app.core.config import Settings
from app.core.database import database
from app.models.chunk import NewChunk
from app.models.document import Document, Ingested, NewDocument
from app.models.vector_space import VectorSpace
from app.search.vector import nearest_chunks
from tests.support import emptied_database

DIMENSIONS = 64
RANDOM = np.random.default_rng(7)


@pytest.fixture(autouse=True)
async def opened(settings: Settings, migrated: None) -> AsyncIterator[None]:
    async with database(settings):
        await emptied_database()
        await VectorSpace.adopt("hash-64", DIMENSIONS)
        yield


def unit(vectors: NDArray[np.float64]) -> NDArray[np.float16]:
    halves: NDArray[np.float16] = (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(
        np.float16
    )
    return halves


async def stored(collection: str, vectors: NDArray[np.float16]) -> UUID:
    new = NewDocument(
        sha256="0" * 64, size_bytes=1, media_type="text/plain", content=b"x", collection=collection
    )
    accepted = await Document.accept(new)
    document = await Document.claim(accepted.document_id, owner="a", lease_s=300)
    assert document is not None
    chunks = [
        NewChunk(f"{collection} {n}", n, n + 1, n, ("H",), 1, vector) for n, vector in enumerate(vectors)
    ]
    assert await document.complete(Ingested(media_type="text/plain", title="T", warnings=[], chunks=chunks))
    return document.id


async def test_hits_are_in_the_exact_order_with_their_citation() -> None:
    vectors = unit(RANDOM.standard_normal((500, DIMENSIONS)))
    document_id = await stored("a", vectors)
    question = unit(RANDOM.standard_normal(DIMENSIONS)).astype(np.float32)

    hits = await nearest_chunks(question, top_k=10)

    exact = np.argsort(-(vectors.astype(np.float32) @ question))[:10]
    assert [hit.text for hit in hits] == [f"a {n}" for n in exact]
    assert hits[0].score == pytest.approx(float(vectors[exact[0]].astype(np.float32) @ question), abs=1e-3)
    assert (hits[0].document_id, hits[0].title, hits[0].headings) == (document_id, "T", ["H"])


async def test_a_small_collection_far_from_the_question_still_gives_all_its_hits() -> None:
    question = np.zeros(DIMENSIONS, np.float32)
    question[0] = 1
    near = RANDOM.standard_normal((6000, DIMENSIONS)) * 0.1
    near[:, 0] += 1
    far = RANDOM.standard_normal((40, DIMENSIONS)) * 0.1
    far[:, 0] -= 1
    await stored("near", unit(near))
    await stored("far", unit(far))
    # As with far more chunks than a test can afford: the index gives up long before it comes to the far ones.
    await connections.get("default").execute_query("ANALYZE chunks")
    database_name = (await connections.get("default").execute_query_dict("SELECT current_database()"))[0]
    name = database_name["current_database"]
    await connections.get("default").execute_query(f"ALTER DATABASE {name} SET hnsw.max_scan_tuples = 100")
    try:
        await connections.get("default")._pool.expire_connections()  # type: ignore[attr-defined]
        assert len(await nearest_chunks(question, top_k=10, collections=["far"])) == 10
        assert len(await nearest_chunks(question, top_k=50, collections=["far"])) == 40
        assert {hit.collection for hit in await nearest_chunks(question, top_k=10)} == {"near"}
    finally:
        await connections.get("default").execute_query(f"ALTER DATABASE {name} RESET hnsw.max_scan_tuples")


async def test_a_collection_without_documents_has_no_hits() -> None:
    await stored("a", unit(RANDOM.standard_normal((3, DIMENSIONS))))
    question = unit(RANDOM.standard_normal(DIMENSIONS)).astype(np.float32)

    assert await nearest_chunks(question, top_k=10, collections=["b"]) == []
    assert len(await nearest_chunks(question, top_k=10, collections=["a", "b"])) == 3


async def test_during_an_update_the_old_chunks_are_cited_by_their_own_title() -> None:
    def version(content: str, title: str) -> NewDocument:
        return NewDocument(
            sha256=content * 64,
            size_bytes=1,
            media_type="text/plain",
            content=b"x",
            external_id="gates",
            title=title,
            source_name=f"{title}.txt",
            metadata={"title": title},
        )

    async def completed() -> None:
        document = await Document.claim(document_id, owner="a", lease_s=300)
        assert document is not None
        chunk = NewChunk("gate", 0, 4, None, (), 1, unit(RANDOM.standard_normal(DIMENSIONS)))
        assert await document.complete(
            Ingested(media_type="text/plain", title="of the file", warnings=[], chunks=[chunk])
        )

    async def cited() -> tuple[object, ...]:
        (hit,) = await nearest_chunks(np.ones(DIMENSIONS, np.float32), top_k=5)
        return hit.title, hit.source_name, hit.metadata, hit.version

    document_id = (await Document.accept(version("1", "old"))).document_id
    await completed()
    await Document.accept(version("2", "new"))

    assert await cited() == ("old", "old.txt", {"title": "old"}, 1)
    await completed()
    assert await cited() == ("new", "new.txt", {"title": "new"}, 2)
