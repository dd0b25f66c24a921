"""Indexes made beside the work: what is fresh gets one, and nothing is lost or found twice meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import asyncpg
import numpy as np
import pytest

from app.core.config import Settings
from app.core.database import connect, database
from app.models import acceptance, vector_parts
from app.models.acceptance import NewDocument
from app.models.chunk import NewChunk
from app.models.document import Document, Ingested
from app.models.reach import EVERYTHING
from app.models.sql import fetch
from app.models.vector_parts import parts_of
from app.models.vector_space import VectorSpace
from app.search import vector
from app.search.scope import Scope
from app.search.vector import nearest_chunks
from app.services import indexing
from app.services.indexing import INDEXING_LOCK, index_fresh
from tests.support import emptied_database

DIMENSIONS = 64
RANDOM = np.random.default_rng(7)


@pytest.fixture(autouse=True)
async def opened(settings: Settings, migrated: None, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    monkeypatch.setattr(vector_parts, "WORTH_AN_INDEX", 10)
    async with database(settings):
        await emptied_database()
        await VectorSpace.adopt("hash", "hash-64", DIMENSIONS)
        yield
        await fetch("DELETE FROM vector_parts")
        connection = await connect(settings)
        await vector_parts.drop_leftovers(connection)
        await connection.close()


async def stored(number: int, vectors: int) -> None:
    new = NewDocument(
        sha256=f"{number:064d}", size_bytes=1, media_type="text/plain", content=b"x", collection="default"
    )
    document = await Document.claim((await acceptance.accept(new)).document_id, owner="a", lease_s=300)
    assert document is not None
    made = RANDOM.standard_normal((vectors, DIMENSIONS))
    units = (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float16)
    chunks = [NewChunk(str(n), n, n + 1, None, None, (), 1, unit) for n, unit in enumerate(units)]
    ingested = Ingested(space_id=1, media_type="text/plain", title=None, warnings=[], chunks=chunks)
    assert await document.complete(ingested)


async def test_a_build_ends_with_the_process_that_wanted_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def build_for_long(connection: asyncpg.Connection, *_: object, **__: object) -> None:
        await connection.execute("SELECT pg_sleep(60) AS a_long_build")

    async def is_running() -> bool:
        rows = await fetch(
            "SELECT FROM pg_stat_activity WHERE query LIKE '%AS a_long_build' AND state = 'active'"
            " AND pid <> pg_backend_pid()"
        )
        return bool(rows)

    monkeypatch.setattr(indexing, "build", build_for_long)
    await stored(1, 20)
    building = asyncio.create_task(index_fresh(partial(connect, settings), memory_mb=64))
    async with asyncio.timeout(20):
        while not await is_running():
            await asyncio.sleep(0.01)
        building.cancel()
        while await is_running():  # A second.
            await asyncio.sleep(0.01)


async def indexes() -> set[str]:
    rows = await fetch(
        "SELECT indexname FROM pg_indexes WHERE tablename = 'chunk_vectors'"
        " AND indexname LIKE 'chunk_vectors_space%'"
    )
    return {row["indexname"] for row in rows}


async def test_what_is_fresh_gets_an_index_and_what_a_cut_off_build_has_left_goes(settings: Settings) -> None:
    await stored(1, 9)
    await index_fresh(partial(connect, settings), memory_mb=64)
    assert await indexes() == set()

    await fetch("CREATE INDEX chunk_vectors_space_1_0_7 ON chunk_vectors (chunk_id)")
    await stored(2, 9)
    await index_fresh(partial(connect, settings), memory_mb=64)

    (part,) = await parts_of(1)
    assert await indexes() == {part.index_name}
    assert part.vectors == 18


async def test_one_process_at_a_time_is_at_it(settings: Settings) -> None:
    await stored(1, 20)
    other = await connect(settings)
    await other.execute("SELECT pg_advisory_lock($1)", INDEXING_LOCK)
    await index_fresh(partial(connect, settings), memory_mb=64)
    assert await parts_of(1) == []

    await other.close()
    await index_fresh(partial(connect, settings), memory_mb=64)
    assert len(await parts_of(1)) == 1


async def test_the_index_of_an_earlier_version_serves_until_there_is_a_part(settings: Settings) -> None:
    await fetch(
        "CREATE INDEX chunk_vectors_space_1 ON chunk_vectors"
        " USING hnsw ((embedding::halfvec(64)) halfvec_ip_ops) WHERE space_id = 1"
    )
    await fetch(
        "INSERT INTO vector_parts VALUES (1, 0, $1, 0, 'chunk_vectors_space_1')", vector_parts.ENDLESS
    )
    await stored(1, 5)
    await index_fresh(partial(connect, settings), memory_mb=64)

    (part,) = await parts_of(1)
    assert await indexes() == {part.index_name}
    assert part.index_name != "chunk_vectors_space_1"
    assert part.vectors == 5


async def test_searches_find_the_same_whatever_is_indexed_meanwhile(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector, "EXACT_UP_TO", -1)
    made = RANDOM.standard_normal(DIMENSIONS)
    question = (made / np.linalg.norm(made)).astype(np.float32)
    is_over = asyncio.Event()

    async def search(*, is_exact: bool) -> list[int]:
        scope = await Scope.of(None, None, EVERYTHING)
        found = await nearest_chunks(question, scope, space_id=1, limit=10, is_exact=is_exact)
        return [ranked.chunk_id for ranked in found]

    async def import_and_index() -> None:
        for number in range(12):
            await stored(number, 20)
            await index_fresh(partial(connect, settings), memory_mb=64)
        is_over.set()

    importing = asyncio.create_task(import_and_index())
    searches = 0
    while not is_over.is_set():
        before = await search(is_exact=True)
        found = await search(is_exact=False)
        after = await search(is_exact=True)
        # None twice, and none missing that was there before and is still among the best.
        assert len(set(found)) == len(found)
        assert set(before) & set(after) <= set(found)
        searches += 1
    await importing

    assert searches > 10
    assert await search(is_exact=False) == await search(is_exact=True)
    assert 1 < len(await parts_of(1)) < 6
