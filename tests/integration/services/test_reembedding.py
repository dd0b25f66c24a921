"""A collection changes models: the old vectors are searched until all new ones are there, come what may."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import SecretStr

from app.core.config import Settings
from app.core.database import connect, database
from app.embedding.hash import HashEmbedder
from app.embedding.protocol import Embedder, TextKind
from app.errors import EmbedderUnavailable, ModelChanged
from app.models import acceptance
from app.models.acceptance import NewDocument
from app.models.collection import SETTINGS_LOCK, Collection
from app.models.document import Document, Ingested
from app.models.reach import EVERYTHING
from app.models.sql import fetch
from app.models.vector_space import VectorSpace
from app.services import reembedding
from app.services.embedders import Embedders, Model
from app.services.reembedding import Reembedding
from app.services.search_service import Search, SearchService
from tests.chaos.invariants import ALWAYS
from tests.integration.search.support import complete, indexed
from tests.support import emptied_database

NARROW = 32  # Dimensions of the other model.


class NarrowEmbedder(HashEmbedder):
    """Another model than that of the tests; may be out of order."""

    def __init__(self) -> None:
        super().__init__(NARROW)
        self.is_away = False
        self.texts: list[str] = []

    async def embed(self, texts: Sequence[str], kind: TextKind = TextKind.DOCUMENT) -> NDArray[np.float32]:
        if self.is_away:
            raise EmbedderUnavailable("no answer")
        self.texts += texts
        await asyncio.sleep(0)
        return await super().embed(texts, kind)


@pytest.fixture(autouse=True)
async def opened(settings: Settings, migrated: None, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    monkeypatch.setattr(reembedding, "STALE_AFTER_S", 0)
    monkeypatch.setattr(reembedding, "DOCUMENTS_AT_ONCE", 3)
    monkeypatch.setattr(reembedding, "CHUNKS_AT_ONCE", 4)
    async with database(settings):
        await emptied_database()
        yield


@pytest.fixture
def limits() -> dict[str, object]:
    """For the API: without a key, `openai` is no model to change to."""
    return {"EMBEDDER_API_KEY": SecretStr("key")}


@pytest.fixture
async def narrow() -> VectorSpace:
    return await VectorSpace.adopt("openai", "narrow", NARROW)


@pytest.fixture
def embedder() -> NarrowEmbedder:
    return NarrowEmbedder()


@pytest.fixture
def embedders(narrow: VectorSpace, embedder: NarrowEmbedder) -> Embedders:
    async def again(space: VectorSpace) -> Embedder:
        assert space.id == narrow.id
        return embedder

    async def named(_: str) -> Embedder:
        raise NotImplementedError

    return Embedders(Model(1, HashEmbedder()), name="hash", open_named=named, open_again=again)


@pytest.fixture
def job(embedders: Embedders) -> Reembedding:
    return Reembedding(embedders, every_s=0.01)


async def some(count: int, collection: str = "gates") -> list[UUID]:
    """Documents of three chunks or so."""
    return [
        await indexed(
            f"Gate {n} opens at six. " + f"Its keeper lives in house {n}. " * 4,
            chunk_tokens=16,
            collection=collection,
            external_id=f"{collection} {n}",
        )
        for n in range(count)
    ]


async def found(embedders: Embedders, collections: Sequence[str] | None = None, **how: Any) -> list[UUID]:
    asked = Search(query="gate six", mode="vector", top_k=200, collections=collections, **how)
    return [hit.document_id for hit in await SearchService(embedders=embedders).search(asked, EVERYTHING)]


async def spaces_of(collection: str) -> dict[int, int]:
    """Vectors by space."""
    rows = await fetch(
        """SELECT v.space_id, count(*) AS vectors FROM chunk_vectors AS v
        JOIN documents AS d ON d.id = v.document_id WHERE d.collection = $1 GROUP BY 1""",
        collection,
    )
    return {row["space_id"]: row["vectors"] for row in rows}


async def nothing_is_wrong() -> None:
    for what, query in ALWAYS.items():
        if "chaos." in query:
            continue  # Of the past, which only the chaos rig keeps.
        assert not await fetch(query), what


async def test_a_collection_gets_its_new_vectors_beside_the_old_ones_and_then_all_at_once(
    job: Reembedding, embedders: Embedders, embedder: NarrowEmbedder, narrow: VectorSpace
) -> None:
    ids = await some(7)
    before = await spaces_of("gates")
    others = await some(2, "locks")
    await Collection.put("gates", {"space_id": narrow.id})
    assert (await Collection.contents(["gates"]))["gates"].chunks_in == before
    embedder.is_away = True
    assert await job.work() > 0

    stopped = await Collection.get(name="gates")
    assert stopped.reembedding_error["code"] == "embedder_unavailable"
    assert set(await found(embedders)) == {*ids, *others}
    embedder.is_away = False
    assert await job.work() == 0

    done = await Collection.get(name="gates")
    assert (done.space_id, done.next_space_id, done.reembedding_since) == (narrow.id, None, None)
    assert done.reembedding_error is None
    assert sorted(embedder.texts) == sorted(
        [
            row["text"]
            for row in await fetch(
                "SELECT c.text FROM chunks AS c JOIN documents AS d ON d.id = document_id"
                " WHERE d.collection = 'gates'"
            )
        ]
    )
    assert await spaces_of("gates") == {1: before[1], narrow.id: before[1]}
    await reembedding.clean()
    assert await spaces_of("gates") == {narrow.id: before[1]}
    assert (await Collection.get(name="gates")).stale_vectors_since is None
    assert set(await found(embedders, ["gates"])) == set(ids)
    # Of both models, by turns: their cosines say nothing about each other.
    first = {*(await found(embedders))[:2]}
    assert first & {*ids}
    assert first & {*others}
    assert await found(embedders, is_exact=True) == await found(embedders)
    await nothing_is_wrong()


async def test_a_change_of_mind_leaves_nothing_behind(
    job: Reembedding,
    embedders: Embedders,
    embedder: NarrowEmbedder,
    narrow: VectorSpace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ids = await some(5)
    before = await spaces_of("gates")
    await Collection.put("gates", {"space_id": narrow.id})
    keep = reembedding.reembedding.finish

    async def finish_and_change(collection: Collection, *rest: Any) -> None:
        await keep(collection, *rest)
        await Collection.put("gates", {"space_id": 1})

    monkeypatch.setattr(reembedding.reembedding, "finish", finish_and_change)
    await job.work()

    assert (await spaces_of("gates"))[narrow.id] < before[1]
    await reembedding.clean()
    assert await spaces_of("gates") == before
    assert {document.space_id for document in await Document.all()} == {1}
    assert set(await found(embedders)) == set(ids)
    await nothing_is_wrong()


async def test_a_document_that_was_read_for_the_old_model_goes_back_and_is_no_failure(
    job: Reembedding, narrow: VectorSpace
) -> None:
    await some(1)
    accepted = await acceptance.accept(
        NewDocument(sha256="1" * 64, size_bytes=1, media_type="text/plain", content=b"x", collection="gates")
    )
    document = await Document.claim(accepted.document_id, owner="a", lease_s=30)
    assert document is not None
    await Collection.put("gates", {"space_id": narrow.id})
    await job.work()

    with pytest.raises(ModelChanged):
        await document.complete(Ingested(space_id=1, media_type="x/y", title=None, warnings=[], chunks=[]))

    assert await document.hand_back()
    again = await Document.get(id=document.id)
    assert (again.status, again.failures, again.chunk_count) == ("PENDING", 0, 0)


async def test_an_empty_collection_changes_at_once(narrow: VectorSpace) -> None:
    assert await Collection.put("gates", {"space_id": narrow.id})
    assert (await Collection.get(name="gates")).space_id == narrow.id
    await Collection.put("gates", {"space_id": 1})
    collection = await Collection.get(name="gates")
    assert (collection.space_id, collection.next_space_id) == (1, None)


async def test_what_the_new_model_does_not_read_to_its_end_has_a_warning(
    job: Reembedding, embedder: NarrowEmbedder, narrow: VectorSpace
) -> None:
    (long, short) = [await indexed("gate " * n, chunk_tokens=64, collection="gates") for n in (100, 5)]
    embedder.max_tokens = 10
    await Collection.put("gates", {"space_id": narrow.id})
    await job.work()

    (warning,) = (await Document.get(id=long)).warnings
    assert warning.startswith("2 chunks are longer than the 10 tokens that hash-32 reads")
    assert (await Document.get(id=short)).warnings == []


async def test_the_swap_waits_for_who_stores_and_keeps_nobody_waiting_for_long(
    settings: Settings, job: Reembedding, narrow: VectorSpace
) -> None:
    await some(1)
    await Collection.put("gates", {"space_id": narrow.id})
    collection = await Collection.get(name="gates")
    storing = await connect(settings)
    try:
        await storing.execute(f"BEGIN; SELECT pg_advisory_xact_lock_shared({SETTINGS_LOCK}, {collection.id})")
        await job.work()
        assert (await Collection.get(name="gates")).next_space_id == narrow.id
        await storing.execute("COMMIT")
        await job.work()
        assert (await Collection.get(name="gates")).space_id == narrow.id
    finally:
        await storing.close()


async def test_many_processes_that_are_killed_at_any_point_beside_updates_deletes_and_searches(
    embedders: Embedders, narrow: VectorSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(7)
    monkeypatch.setattr(reembedding, "LEASE_S", 0.05)
    monkeypatch.setattr(reembedding, "STALE_AFTER_S", 60)
    ids, updated = set(await some(25)), set[UUID]()
    await Collection.put("gates", {"space_id": narrow.id})

    async def is_done() -> bool:
        return (await Collection.get(name="gates")).space_id == narrow.id

    async def embed() -> None:
        while not await is_done():
            run = asyncio.create_task(Reembedding(embedders, every_s=0.01).run())
            await asyncio.sleep(chance.uniform(0, 0.1))
            run.cancel()
            with suppress(asyncio.CancelledError):
                await run

    async def update() -> None:
        for n in range(0, 25, 3):
            content = f"Gate {n} is shut. ".encode()
            new = NewDocument(
                sha256=hashlib.sha256(content).hexdigest(),
                size_bytes=9,
                media_type="text/plain",
                content=content,
                collection="gates",
                external_id=f"gates {n}",
            )
            accepted = await acceptance.accept(new)
            updated.add(accepted.document_id)  # Between ranking and reading, its chunks may be replaced.
            document = await Document.claim(accepted.document_id, owner="a", lease_s=30)
            assert document is not None
            with suppress(ModelChanged):
                await complete(document, content.decode() * 9, chunk_tokens=16)
                continue
            await document.hand_back()

    async def delete() -> None:
        for document_id in sorted(ids)[1::5]:
            await asyncio.sleep(chance.uniform(0, 0.05))
            ids.discard(document_id)
            await Document.remove(document_id, EVERYTHING)

    async def search() -> None:
        while not await is_done():
            # Nothing is missing at any moment: neither before the swap nor after it, nor while it happens.
            hits = await found(embedders, max_per_document=1)
            assert ids - updated <= set(hits)

    await asyncio.gather(embed(), embed(), embed(), update(), delete(), search())
    assert ids <= set(await found(embedders, max_per_document=1))
    monkeypatch.setattr(reembedding, "STALE_AFTER_S", 0)
    await reembedding.clean()
    assert set(await spaces_of("gates")) == {narrow.id}
    await nothing_is_wrong()


async def test_the_api_tells_how_far_it_has_come(
    client: httpx.AsyncClient, job: Reembedding, embedder: NarrowEmbedder
) -> None:
    await some(3)
    assert (await client.get("/collections/gates")).json()["embedding"] == {
        "embedder": "hash",
        "model": "hash-64",
        "dimensions": 64,
    }
    answer = (await client.put("/collections/gates", json={"embedder": "openai"})).json()

    assert answer["embedding"]["embedder"] == "hash"
    following = {"embedder": "openai", "model": "text-embedding-3-small", "dimensions": 1536}
    assert answer["reembedding"]["embedding"] == following
    assert (
        answer["reembedding"]["chunks_done"] == 0 < answer["reembedding"]["chunks_total"] == answer["chunks"]
    )
    await reembedding.reembedding.note(
        await Collection.get(name="gates"),
        {"code": "embedder_unavailable", "message": "no", "retryable": True, "hint": "look", "stage": None},
    )
    error = (await client.get("/collections")).json()["collections"][1]["reembedding"]["error"]
    assert error == {"code": "embedder_unavailable", "message": "no", "retryable": True, "hint": "look"}
    answer = (await client.put("/collections/gates", json={"embedder": "hash"})).json()
    assert answer["reembedding"] is None
    assert (await client.put("/collections/gates", json={"embedder": "word2vec"})).status_code == 422
