"""Collections: made by their first document or by their settings, counted, and gone when they are deleted."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from fastapi import FastAPI

from app.models.chunk import Chunk
from app.models.collection import Collection
from app.models.document import Document
from app.models.sql import fetch
from app.services.housekeeping import remove_deleted
from tests.integration.search.support import complete, indexed

GATES = "The upper gate opens at six in the morning."


async def found(client: httpx.AsyncClient, name: str) -> dict[str, Any]:
    answer = await client.get(f"/collections/{name}")
    assert answer.status_code == 200, answer.text
    collection: dict[str, Any] = answer.json()
    return collection


async def test_the_first_document_makes_its_collection(client: httpx.AsyncClient) -> None:
    assert [one["name"] for one in (await client.get("/collections")).json()["collections"]] == ["default"]
    await asyncio.gather(
        *(client.post("/ingest", json={"text": f"{GATES} {n}", "collection": "gates"}) for n in range(20))
    )

    collection = await found(client, "gates")
    assert collection["documents"] == {"PENDING": 20}
    assert (collection["chunks"], collection["language"], collection["deletion"]) == (0, "english", None)
    assert collection["size_bytes"] == sum(len(f"{GATES} {n}") for n in range(20))
    await indexed(GATES, collection="gates")
    collection = await found(client, "gates")
    assert (collection["documents"], collection["chunks"]) == ({"PENDING": 20, "COMPLETED": 1}, 1)


async def test_collections_are_listed_by_name_page_by_page(client: httpx.AsyncClient) -> None:
    names = [f"c{n:02d}" for n in range(7)]
    for name in reversed(names):
        assert (await client.put(f"/collections/{name}", json={})).status_code == 201

    listed: list[str] = []
    after: str | None = None
    while True:
        params = {"limit": 3, **({} if after is None else {"after": after})}
        page = (await client.get("/collections", params=params)).json()
        listed += [collection["name"] for collection in page["collections"]]
        after = page["next_after"]
        if after is None:
            break
    assert listed == [*names, "default"]


async def test_a_collection_can_be_handled_whatever_its_name_is(client: httpx.AsyncClient) -> None:
    for name in ("team/hr", "Bad Name/é", "../up", "a/", "/", "...", "50%", "a?b#c"):
        path = f"/collections/{quote(name, safe='')}"
        taken = await client.post("/ingest", json={"text": GATES, "collection": name})
        assert taken.status_code == 201
        assert (await client.get(path)).json()["name"] == name
        assert (await client.put(path, json={"chunk_tokens": 99})).json()["chunk_tokens"] == 99
        assert (await client.delete(path)).status_code == 202
    for name in (".", ".."):  # Steps in an address, which clients and proxies take.
        refused = await client.post("/ingest", json={"text": GATES, "collection": name})
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")


@pytest.mark.parametrize(
    ("embedder", "lacks"), [("openai", "EMBEDDER_API_KEY"), ("static", "no-such-package")]
)
async def test_an_embedder_that_the_server_is_not_set_up_for_is_refused_for_good(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, embedder: str, lacks: str
) -> None:
    monkeypatch.setattr("app.embedding.static.PACKAGE", "no-such-package")

    answer = await client.put("/collections/far", json={"embedder": embedder})

    assert (answer.status_code, answer.json()["code"]) == (422, "embedder_missing")
    assert not answer.json()["retryable"]
    assert lacks in answer.json()["detail"]
    assert sys.executable not in answer.text
    assert (await client.get("/collections/far")).status_code == 404


async def test_settings_are_kept_and_changed_one_by_one(client: httpx.AsyncClient) -> None:
    made = await client.put("/collections/german", json={"language": "german", "chunk_tokens": 64})
    changed = await client.put("/collections/german", json={"overlap_tokens": 8})

    assert (made.status_code, changed.status_code) == (201, 200)
    collection = changed.json()
    assert [collection[key] for key in ("language", "chunk_tokens", "overlap_tokens")] == ["german", 64, 8]
    back = (await client.put("/collections/german", json={"chunk_tokens": None})).json()
    assert (back["chunk_tokens"], back["language"]) == (None, "german")


@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        ("a", {"language": "klingon"}, "/language: must be one of"),
        ("a", {"chunk_tokens": 1}, "/chunk_tokens"),
        ("a", {"chunk_tokens": 50, "overlap_tokens": 26}, "/overlap_tokens: `overlap_tokens` (26) must be"),
        ("a", {"overlap_tokens": 129}, "at most half of `chunk_tokens` (256)"),
        ("a", {"chunks": 1}, "/chunks"),
        ("%00", {}, "/name"),
        ("%20", {}, "/name"),
        ("x" * 201, {}, "/name"),
    ],
)
async def test_bad_settings_and_names_are_refused(
    client: httpx.AsyncClient, name: str, body: dict[str, Any], said: str
) -> None:
    answer = await client.put(f"/collections/{name}", json=body)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert said in answer.json()["detail"]
    assert await Collection.all().count() == 1


async def test_an_overlap_is_measured_by_what_the_collection_has_already(client: httpx.AsyncClient) -> None:
    await client.put("/collections/a", json={"chunk_tokens": 50, "overlap_tokens": 25})

    larger = await client.put("/collections/a", json={"overlap_tokens": 26})
    smaller = await client.put("/collections/a", json={"chunk_tokens": 49})
    both = await client.put("/collections/a", json={"chunk_tokens": 40, "overlap_tokens": 20})

    assert [each.status_code for each in (larger, smaller, both)] == [422, 422, 200]
    assert smaller.json()["errors"][0]["pointer"] == "/chunk_tokens"
    assert both.json()["overlap_tokens"] == 20


async def test_small_chunks_need_no_word_about_their_overlap(client: httpx.AsyncClient) -> None:
    answer = await client.put("/collections/a", json={"chunk_tokens": 16})
    assert (answer.status_code, answer.json()["overlap_tokens"]) == (201, None)


async def test_an_overlap_from_before_there_was_a_limit_bars_no_other_change(
    client: httpx.AsyncClient,
) -> None:
    await Collection.put("a", {"chunk_tokens": 50, "overlap_tokens": 500})

    assert (await client.put("/collections/a", json={"language": "german"})).status_code == 200
    assert (await client.put("/collections/a", json={"overlap_tokens": 10})).status_code == 200


async def test_a_language_stays_once_there_are_words(client: httpx.AsyncClient) -> None:
    await client.put("/collections/a", json={"language": "german"})
    await indexed("Die Schleusen öffnen um sechs.", collection="a")

    answer = await client.put("/collections/a", json={"language": "simple"})
    assert (answer.status_code, answer.json()["code"]) == (409, "collection_in_use")
    assert (await client.put("/collections/a", json={"language": "german"})).status_code == 200
    hits = await client.post("/search", json={"query": "Schleuse", "mode": "keyword"})
    assert len(hits.json()["hits"]) == 1


async def test_an_unknown_collection_is_404(client: httpx.AsyncClient) -> None:
    for method in ("GET", "DELETE"):
        answer = await client.request(method, "/collections/nowhere")
        assert (answer.status_code, answer.json()["code"]) == (404, "collection_not_found")


# --- Deletion ----------------------------------------------------------------------------------------------


@pytest.fixture
def limits() -> dict[str, int]:
    return {"INLINE_CONTENT_BYTES": 100}


async def test_what_is_deleted_is_gone_at_once_and_removed_bit_by_bit(
    app: FastAPI, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    for number in range(230):
        await client.post("/ingest", json={"text": f"gate {number}", "collection": "doomed"})
    stored = (await client.post("/ingest", json={"text": "gate " * 99, "collection": "doomed"})).json()
    await indexed(GATES, collection="doomed")
    kept = await indexed(GATES, collection="kept")
    assert len(list(tmp_path.glob("??/*"))) == 1  # noqa: ASYNC240

    answer = await client.delete("/collections/doomed")
    assert (answer.status_code, answer.json()["deletion"]["documents_left"]) == (202, 232)
    for mode in ("keyword", "vector", "hybrid"):
        hits = (await client.post("/search", json={"query": "gate", "mode": mode})).json()["hits"]
        assert {hit["document_id"] for hit in hits} == {str(kept)}
    assert (await client.get(f"/documents/{stored['document_id']}")).status_code == 404
    assert len((await client.get("/documents")).json()["documents"]) == 1
    again = await client.post("/ingest", json={"text": GATES, "collection": "doomed"})
    assert (again.status_code, again.json()["code"]) == (409, "collection_deleting")
    assert again.json()["retryable"]
    assert (await client.put("/collections/doomed", json={})).status_code == 409
    assert (await client.delete("/collections/doomed")).status_code == 202

    store = app.state.resources.store
    await asyncio.gather(remove_deleted(store), remove_deleted(store))
    await remove_deleted(store)
    assert (await client.get("/collections/doomed")).status_code == 404
    assert await Document.all().values_list("id", flat=True) == [kept]
    assert [row["n"] for row in await fetch("SELECT count(*) AS n FROM chunk_words")] == [1]
    assert not list(tmp_path.glob("??/*"))  # noqa: ASYNC240 - What it held is a file.
    assert (await client.post("/ingest", json={"text": GATES, "collection": "doomed"})).status_code == 201


@pytest.mark.parametrize("mode", ["keyword", "vector", "hybrid"])
async def test_what_is_on_its_way_out_takes_no_place_of_what_stays(
    client: httpx.AsyncClient, mode: str
) -> None:
    kept = [await indexed(f"{GATES} {number}", collection="kept") for number in range(3)]
    for number in range(10):
        await indexed(f"{GATES} gates {number}", collection="doomed")
    await client.delete("/collections/doomed")

    hits = (await client.post("/search", json={"query": "gates", "mode": mode, "top_k": 3})).json()["hits"]
    assert {hit["document_id"] for hit in hits} == {str(document_id) for document_id in kept}


async def test_documents_of_many_chunks_are_removed_a_few_at_a_time(client: httpx.AsyncClient) -> None:
    for number in range(5):
        await indexed(f"{GATES} {number}", collection="doomed")
    await client.delete("/collections/doomed")
    await Document.all().update(chunk_count=100)
    (doomed,) = await Collection.deleting()

    left = []
    while (await doomed.remove_documents(4, chunks=200))[0]:
        left.append(await Document.all().count())

    assert left == [3, 1, 0]
    assert not await Collection.exists(name="doomed")


async def test_a_document_in_a_workers_hand_goes_with_its_collection(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    await client.post("/ingest", json={"text": GATES, "collection": "doomed"})
    document = await Document.get()
    claimed = await Document.claim(document.id, owner="a", lease_s=30)
    assert claimed is not None
    await client.delete("/collections/doomed")
    await remove_deleted(app.state.resources.store)

    with pytest.raises(AssertionError):
        await complete(claimed, GATES)  # The lease is lost, and nothing is written.
    assert not await Chunk.exists()
    await remove_deleted(app.state.resources.store)
    assert not await Collection.exists(name="doomed")


async def test_accepts_that_meet_the_deletion_end_up_deleted_or_refused(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    await client.put("/collections/doomed", json={})
    answers = await asyncio.gather(
        *(client.post("/ingest", json={"text": f"gate {n}", "collection": "doomed"}) for n in range(30)),
        client.delete("/collections/doomed"),
        *(client.post("/ingest", json={"text": f"swan {n}", "collection": "doomed"}) for n in range(30)),
    )
    assert {answer.status_code for answer in answers} <= {201, 202, 409}
    while await Collection.exists(name="doomed"):
        await remove_deleted(app.state.resources.store)
    assert not await Document.exists()
