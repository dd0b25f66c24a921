"""Nearest chunks: the right ones, in order, and as many as asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from numpy.typing import NDArray

from app.core.config import Settings
from app.core.database import connect, database
from app.embedding.hash import HashEmbedder
from app.models import acceptance, vector_parts
from app.models.acceptance import NewDocument
from app.models.chunk import NewChunk
from app.models.document import Document, Ingested
from app.models.reach import EVERYTHING
from app.models.sql import fetch, transaction
from app.models.vector_parts import parts_of
from app.models.vector_space import VectorSpace
from app.search import vector
from app.search.scope import Ranked, Scope
from app.search.vector import nearest_chunks
from app.services.search_service import Search, SearchService
from tests.support import emptied_database, only

DIMENSIONS = 64
RANDOM = np.random.default_rng(7)


@pytest.fixture(autouse=True)
async def opened(settings: Settings, migrated: None) -> AsyncIterator[None]:
    async with database(settings):
        await emptied_database()
        await VectorSpace.adopt("hash", "hash-64", DIMENSIONS)
        yield
        await fetch("DELETE FROM vector_parts")
        connection = await connect(settings)
        await vector_parts.drop_leftovers(connection)
        await connection.close()


def unit(vectors: NDArray[np.float64]) -> NDArray[np.float16]:
    halves: NDArray[np.float16] = (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(
        np.float16
    )
    return halves


async def stored(collection: str, vectors: NDArray[np.float16]) -> UUID:
    new = NewDocument(
        sha256="0" * 64, size_bytes=1, media_type="text/plain", content=b"x", collection=collection
    )
    accepted = await acceptance.accept(new)
    document = await Document.claim(accepted.document_id, owner="a", lease_s=300)
    assert document is not None
    chunks = [NewChunk(f"{collection} {n}", n, n + 1, n, n, ("H",), 1, own) for n, own in enumerate(vectors)]
    assert await document.complete(
        Ingested(space_id=1, media_type="text/plain", title="T", warnings=[], chunks=chunks)
    )
    return document.id


async def nearest(question: NDArray[np.float32], top_k: int, *names: str, **how: Any) -> list[Ranked]:
    return await nearest_chunks(
        question, await Scope.of(names or None, None, EVERYTHING), space_id=1, limit=top_k, **how
    )


async def index_all(settings: Settings) -> None:
    """Make an index of what is fresh, however little."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(vector_parts, "WORTH_AN_INDEX", 1)
        space = await VectorSpace.get(id=1)
        planned = await vector_parts.next_plan(space, memory_mb=64)
        assert planned is not None
        connection = await connect(settings)
        await vector_parts.build(connection, space, planned, memory_mb=64)
        await connection.close()


@pytest.mark.parametrize("exact_up_to", [-1, 5000], ids=["through indexes", "one by one"])
@pytest.mark.parametrize("how", [{}, {"ef_search": 400}, {"is_exact": True}], ids=str)
async def test_hits_are_in_the_exact_order(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, exact_up_to: int, how: dict[str, Any]
) -> None:
    monkeypatch.setattr(vector, "EXACT_UP_TO", exact_up_to)
    vectors = unit(RANDOM.standard_normal((500, DIMENSIONS)))
    await stored("a", vectors[:200])
    await index_all(settings)
    await stored("b", vectors[200:300])
    await index_all(settings)
    await stored("c", vectors[300:])  # Which is fresh.
    question = unit(RANDOM.standard_normal(DIMENSIONS)).astype(np.float32)

    found = await nearest(question, 10, **how)

    exact = np.argsort(-(vectors.astype(np.float32) @ question))[:10]
    (first,) = await fetch("SELECT min(id) AS id FROM chunks")
    assert [ranked.chunk_id - first["id"] for ranked in found] == exact.tolist()
    assert found[0].score == pytest.approx(float(vectors[exact[0]].astype(np.float32) @ question), abs=1e-3)
    assert len(await parts_of(1)) == 2


async def test_a_narrow_view_finds_less_and_lasts_for_one_search_only(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setattr(vector, "EXACT_UP_TO", -1)
    await stored("a", unit(RANDOM.standard_normal((6000, DIMENSIONS))))
    await index_all(settings)
    questions = unit(RANDOM.standard_normal((20, DIMENSIONS))).astype(np.float32)

    async def recall(**how: Any) -> float:
        shares = []
        for question in questions:
            exact = {ranked.chunk_id for ranked in await nearest(question, 10, is_exact=True)}
            shares.append(
                len(exact & {ranked.chunk_id for ranked in await nearest(question, 10, **how)}) / 10
            )
        return float(np.mean(shares))

    # Vectors without any structure are the hardest there are; those of texts are far easier to find.
    assert await recall(ef_search=10) < await recall() <= await recall(ef_search=1000)
    (setting,) = await fetch("SHOW hnsw.ef_search")
    assert setting["hnsw.ef_search"] == "200"


@pytest.mark.parametrize("wanted", [10, 50])
async def test_a_small_collection_far_from_the_question_still_gives_all_its_hits(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, wanted: int
) -> None:
    monkeypatch.setattr(vector, "EXACT_UP_TO", -1)
    question = np.zeros(DIMENSIONS, np.float32)
    question[0] = 1
    near = RANDOM.standard_normal((6000, DIMENSIONS)) * 0.1
    near[:, 0] += 1
    far = RANDOM.standard_normal((40, DIMENSIONS)) * 0.1
    far[:, 0] -= 1
    await stored("near", unit(near))
    far_away = await stored("far", unit(far))
    await fetch("ANALYZE chunk_vectors")
    await index_all(settings)

    async with transaction():
        # As with far more chunks than a test can afford: the index gives up long before it comes to those.
        await fetch("SELECT set_config('hnsw.max_scan_tuples', '100', TRUE)")
        found = await nearest(question, wanted, "far")
        anywhere = await nearest(question, wanted)

    assert len(found) == min(wanted, 40)
    assert {ranked.document_id for ranked in found} == {far_away}
    assert far_away not in {ranked.document_id for ranked in anywhere}


async def test_a_collection_without_documents_has_no_hits() -> None:
    await stored("a", unit(RANDOM.standard_normal((3, DIMENSIONS))))
    question = unit(RANDOM.standard_normal(DIMENSIONS)).astype(np.float32)

    assert await nearest(question, 10, "b") == []
    assert len(await nearest(question, 10, "a", "b")) == 3


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
        chunk = NewChunk("gate", 0, 4, None, None, (), 1, unit(RANDOM.standard_normal(DIMENSIONS)))
        assert await document.complete(
            Ingested(space_id=1, media_type="text/plain", title="of the file", warnings=[], chunks=[chunk])
        )

    async def cited() -> tuple[object, ...]:
        (hit,) = await SearchService(embedders=only(HashEmbedder())).search(Search(query="gate"), EVERYTHING)
        return hit.title, hit.source_name, hit.metadata, hit.version

    document_id = (await acceptance.accept(version("1", "old"))).document_id
    await completed()
    await acceptance.accept(version("2", "new"))

    assert await cited() == ("old", "old.txt", {"title": "old"}, 1)
    await completed()
    assert await cited() == ("new", "new.txt", {"title": "new"}, 2)
