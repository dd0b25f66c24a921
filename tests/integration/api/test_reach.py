"""Two tenants side by side: one of them tries all that there is to see or change what is the other's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI

from app.errors import CorruptFile
from app.models import event_log
from app.models.document import Document
from app.models.sql import fetch
from tests.keys import HAS_KEYS, OWNER, bearer, secret_of
from tests.support import indexed

#: Method, path and what is sent.
Call = tuple[str, str, dict[str, Any]]

LINES = {"headers": {"content-type": "application/x-ndjson"}}

TEXT = "The upper gate of the {} opens at six in the morning."


@pytest.fixture
def limits() -> dict[str, object]:
    return HAS_KEYS


@dataclass
class Tenant:
    """Somebody with a collection, and one of everything in it."""

    name: str
    client: httpx.AsyncClient
    key: str
    found: UUID
    failed: UUID
    waiting: UUID
    batch: UUID
    since: str  # Before anything was there.

    async def call(self, method: str, path: str, **more: Any) -> httpx.Response:
        headers = bearer(self.key) | more.pop("headers", {})
        async with asyncio.timeout(10):  # A stream of what it should not hear has no end.
            return await self.client.request(method, path, headers=headers, **more)


async def tenant(client: httpx.AsyncClient, name: str) -> Tenant:
    key = await secret_of(client, collections=[name])
    made = Tenant(name, client, key, *(uuid4() for _ in range(4)), str(await event_log.here()))
    taken = await made.call("POST", "/ingest", json={"text": TEXT.format(name), "collection": name})
    made.found = UUID(taken.json()["document_id"])
    await indexed(made.found, TEXT.format(name))
    line = json.dumps({"text": "It breaks.", "external_id": "of a batch", "collection": name})
    taken = await made.call("POST", "/ingest/batch", content=line, **LINES)
    made.batch = UUID(taken.json()["batch_id"])
    made.failed = UUID(taken.json()["items"][0]["document_id"])
    held = await Document.claim(made.failed, owner="host:1", lease_s=30)
    assert held is not None
    await held.fail(CorruptFile())
    taken = await made.call("POST", "/ingest", json={"text": "It waits.", "collection": name})
    made.waiting = UUID(taken.json()["document_id"])
    return made


@pytest.fixture
async def left(client: httpx.AsyncClient) -> Tenant:
    return await tenant(client, "left")


@pytest.fixture
async def right(client: httpx.AsyncClient) -> Tenant:
    return await tenant(client, "right")


#: About something, whose name stands for {}.
DOCUMENT_CALLS: list[Call] = [
    ("GET", "/documents/{}", {}),
    ("GET", "/documents/{}?wait=0.05", {}),
    ("GET", "/documents/{}", {"headers": {"if-none-match": "*"}}),
    ("GET", "/documents/{}/attempts", {}),
    ("GET", "/documents/{}/chunks", {}),
    ("GET", "/documents/{}/chunks?cursor=MS4w", {}),
    ("GET", "/documents/{}/content", {}),
    ("HEAD", "/documents/{}/content", {}),
    ("GET", "/documents/{}/content", {"headers": {"range": "bytes=0-1", "if-none-match": "*"}}),
    ("GET", "/documents/{}/content?format=text", {}),
    ("GET", "/documents/{}/events", {}),
    ("GET", "/documents/{}/events", {"headers": {"last-event-id": "{place}"}}),
    ("POST", "/documents/{}/retry", {}),
    ("POST", "/documents/{}/cancel", {}),
    ("PATCH", "/documents/{}", {"json": {"title": "Mine"}}),
    ("PATCH", "/documents/{}", {"json": {"title": "Mine"}, "headers": {"if-match": "*"}}),
    ("PATCH", "/documents/{}", {"json": {}, "headers": {"if-match": '"0"'}}),
    ("DELETE", "/documents/{}", {}),
    ("DELETE", "/documents/{}", {"headers": {"if-match": "*"}}),
    ("DELETE", "/documents/{}", {"headers": {"if-match": '"0"'}}),
    ("POST", "/documents/retry", {"json": {"document_ids": ["{}"]}}),
    ("POST", "/search", {"json": {"query": "gate", "filter": {"field": "document_id", "eq": "{}"}}}),
]
BATCH_CALLS: list[Call] = [
    ("GET", "/batches/{}", {}),
    ("GET", "/batches/{}/items", {}),
    ("GET", "/documents?batch_id={}", {}),
]
COLLECTION_CALLS: list[Call] = [
    ("GET", "/collections/{}", {}),
    ("DELETE", "/collections/{}", {}),
    ("PUT", "/collections/{}", {"json": {"language": "german"}}),
    ("GET", "/documents?collection={}", {}),
    ("GET", "/documents?collection={}&status=FAILED&external_id=of%20a%20batch", {}),
    ("POST", "/documents/retry", {"json": {"collection": "{}"}}),
    ("POST", "/search", {"json": {"query": "gate", "collections": ["{}"]}}),
    ("POST", "/search", {"json": {"query": "gate", "collections": ["{}"], "mode": "keyword"}}),
    ("POST", "/search", {"json": {"query": "gate", "filter": {"field": "collection", "eq": "{}"}}}),
    ("POST", "/ingest", {"json": {"text": TEXT.format("right"), "collection": "{}"}}),
    ("POST", "/ingest", {"json": {"text": "New.", "external_id": "of a batch", "collection": "{}"}}),
    ("POST", "/ingest", {"data": {"collection": "{}"}, "files": {"file": ("a.txt", b"New.")}}),
    ("POST", "/ingest", {"json": {"text": "N" * 70_000, "collection": "{}"}}),
    ("POST", "/ingest/batch", {"content": '{"text": "New.", "collection": "{}"}', **LINES}),
    ("POST", "/ingest/batch?collection={}", {"content": '{"text": "New."}', **LINES}),
]


def about(call: Call, thing: object, place: object) -> Call:
    """The call, about this."""

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: filled(each) for name, each in value.items()}
        if isinstance(value, list):
            return [filled(each) for each in value]
        if isinstance(value, str):
            return value.replace("{}", str(thing)).replace("{place}", str(place))
        return value

    method, path, more = call
    return method, filled(path), filled(more)


def plain(answer: httpx.Response, *ids: object) -> tuple[int, str, dict[str, str]]:
    """All that an answer says, without what is its own in each."""
    body = answer.text
    named = [*ids]
    if answer.headers.get("location", "").startswith("/batches/"):
        named.append(answer.headers["location"].removeprefix("/batches/"))
    headers = dict(answer.headers)
    for each in named:
        body = body.replace(str(each), "…")
        headers = {name: value.replace(str(each), "…") for name, value in headers.items()}
    headers.pop("content-length", None)  # Names differ in their length.
    return answer.status_code, body, headers


async def everything_of(name: str) -> list[dict[str, Any]]:
    return await fetch(
        """
        SELECT d::text AS all_of_it FROM documents AS d WHERE collection = $1
        UNION ALL SELECT n::text FROM collections AS n WHERE name = $1
        UNION ALL SELECT c::text FROM chunks AS c JOIN documents AS d ON d.id = c.document_id
            WHERE d.collection = $1
        ORDER BY 1
        """,
        name,
    )


async def test_what_lies_out_of_reach_is_answered_as_if_it_did_not_exist_and_stays_as_it_is(
    left: Tenant, right: Tenant
) -> None:
    before = await everything_of("right")

    async def told(call: Call, thing: object) -> tuple[int, str, dict[str, str]]:
        method, path, more = about(call, thing, right.since)
        return plain(await left.call(method, path, **more), thing)

    for things, calls in (
        ((right.found, right.failed, right.waiting), DOCUMENT_CALLS),
        ((right.batch,), BATCH_CALLS),
        (("right",), COLLECTION_CALLS),
    ):
        for call in calls:
            none = await told(call, "nowhere" if things == ("right",) else uuid4())
            for thing in things:
                assert await told(call, thing) == none, call
            assert none[0] != 500
            assert "gate of the right" not in none[1], call
    assert await everything_of("right") == before
    assert await everything_of("nowhere") == []


async def test_the_same_calls_reach_what_is_ones_own(left: Tenant, right: Tenant) -> None:
    calls: list[tuple[object, Call]] = [(left.found, call) for call in DOCUMENT_CALLS]
    calls += [(left.batch, call) for call in BATCH_CALLS]
    calls += [("left", call) for call in COLLECTION_CALLS]
    for thing, call in calls:
        method, path, more = about(call, thing, left.since)
        if method != "DELETE" and "cursor=" not in path:
            status = (await left.call(method, path, **more)).status_code
            assert status in {200, 201, 206, 304} or (method, status) in {("PUT", 409), ("PATCH", 412)}, call


async def test_refusals_name_the_keys_own_collections(left: Tenant, right: Tenant) -> None:
    alone = await left.call("POST", "/ingest", json={"text": "New.", "collection": "right"})
    lines = '{"text": "New.", "collection": "right"}\n{"text": "Mine.", "collection": "left"}'
    batch = (await left.call("POST", "/ingest/batch", content=lines, **LINES)).json()

    assert (alone.status_code, alone.json()["code"]) == (403, "forbidden")
    for error in (alone.json(), batch["items"][0]["error"]):
        assert error["code"] == "forbidden"
        assert "'left'" in error["hint"]
    assert (batch["items"][1]["created"], batch["created"], batch["failed"]) == (True, 1, 1)


async def test_what_is_about_all_is_about_all_of_ones_own(left: Tenant, right: Tenant) -> None:
    listed: list[str] = []
    cursor = ""
    while cursor is not None:
        page = (await left.call("GET", f"/documents?limit=1{cursor and '&cursor=' + cursor}")).json()
        listed += [each["document_id"] for each in page["documents"]]
        cursor = page["next_cursor"]
    collections = (await left.call("GET", "/collections?limit=1")).json()
    hits = (await left.call("POST", "/search", json={"query": "upper gate"})).json()["hits"]
    retried = (await left.call("POST", "/documents/retry", json={})).json()

    assert listed == [str(each) for each in (left.waiting, left.failed, left.found)]
    assert [each["name"] for each in collections["collections"]] == ["left"]
    assert collections["next_after"] is None
    assert {hit["document_id"] for hit in hits} == {str(left.found)}
    assert retried == {"retried": 1, "has_more": False}
    assert (await Document.get(id=right.failed)).status == "FAILED"


async def test_an_idempotency_key_is_shared_only_by_those_of_the_same_reach(
    left: Tenant, right: Tenant
) -> None:
    wider = Tenant(**{**vars(left), "key": await secret_of(left.client, collections=["left", "right"])})
    headers = {"idempotency-key": "once"}

    async def sent(by: Tenant, text: str) -> httpx.Response:
        return await by.call("POST", "/ingest", json={"text": text, "collection": "left"}, headers=headers)

    first = await sent(wider, "Said by one who reaches more.")
    other = await sent(left, "Said by the tenant.")
    again = await sent(left, "Said by the tenant.")
    reused = await sent(wider, "Said by the tenant.")

    assert [first.status_code, other.status_code, again.status_code] == [201, 201, 201]
    assert other.json() == again.json() != first.json()
    assert (reused.status_code, reused.json()["code"]) == (422, "idempotency_key_reused")


async def test_a_batch_is_shown_to_whoever_reaches_all_that_its_sender_did(
    left: Tenant, right: Tenant
) -> None:
    wide, narrow = await secret_of(left.client, collections=["left", "right"]), left.key
    reader = await secret_of(left.client, collections=["left"], may_write=False)
    sent = await left.client.post(
        "/ingest/batch",
        content='{"text": "Mine.", "collection": "left"}',
        headers=bearer(wide) | LINES["headers"],
    )
    path = sent.headers["location"]

    async def seen(key: str, path: str) -> int:
        return (await left.client.get(path, headers=bearer(key))).status_code

    async def listed(key: str) -> int:
        documents = f"/documents?batch_id={path.removeprefix('/batches/')}"
        return len((await left.client.get(documents, headers=bearer(key))).json()["documents"])

    assert [await seen(key, path) for key in (wide, OWNER, narrow)] == [200, 200, 404]
    assert [await listed(key) for key in (wide, OWNER, narrow)] == [1, 1, 0]
    assert [await seen(key, f"/batches/{left.batch}") for key in (wide, OWNER, reader)] == [200, 200, 200]


# --- Events -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def listening(app: FastAPI, key: str, path: str, last_event_id: str = "") -> AsyncIterator[list[str]]:
    """What a stream says, piece by piece as it does."""
    said: list[str] = []
    asked = asyncio.Event()
    path, _, query = path.partition("?")
    headers = [(b"authorization", f"Bearer {key}".encode()), (b"last-event-id", last_event_id.encode())]
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": query.encode(),
        "headers": headers,
    }

    async def receive() -> dict[str, Any]:
        if not asked.is_set():
            asked.set()
            return {"type": "http.request", "body": b"", "more_body": False}
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]  # Never.

    async def send(message: dict[str, Any]) -> None:
        said.append(message.get("body", b"").decode())

    call = asyncio.create_task(app({**scope, "query_string": query.encode()}, receive, send))  # type: ignore[arg-type]
    try:
        yield said
    finally:
        call.cancel()
        with suppress(asyncio.CancelledError):
            await call


async def says(said: list[str], word: object) -> None:
    async with asyncio.timeout(5):
        while str(word) not in "".join(said):
            await asyncio.sleep(0.01)


async def test_nobody_hears_of_what_happens_out_of_his_reach(
    app: FastAPI, left: Tenant, right: Tenant
) -> None:
    since = str(await event_log.here())
    both = f"/events?collection=left&collection=right&batch={left.batch}"
    sent = await left.client.post(
        "/ingest/batch",
        content='{"text": "It breaks.", "external_id": "of a batch", "collection": "left"}',
        headers=bearer(OWNER) | LINES["headers"],
    )
    owners = f"/events?batch={sent.json()['batch_id']}"
    for each in (right, left):
        await Document.retry(each.failed)
    async with (
        listening(app, left.key, "/events") as live,
        listening(app, left.key, "/events", since) as replayed,
        listening(app, left.key, both, since) as of_batch,
        listening(app, left.key, f"/events?batch={right.batch}", since) as of_other,
        listening(app, left.key, owners, since) as of_owners,
        listening(app, OWNER, owners, since) as to_owner,
        listening(app, OWNER, f"/events?batch={right.batch}", since) as of_right,
    ):
        for stream in (live, replayed, of_batch, of_other, of_owners, to_owner, of_right):
            await says(stream, "event: ready")
        for each in (right, left):
            await Document.cancel(each.failed)
        await says(of_right, "cancelled")
        for stream in (live, replayed, of_batch, to_owner):
            await says(stream, "cancelled")
            assert str(left.failed) in "".join(stream)
    for stream in (live, replayed, of_batch, of_other):
        assert str(right.failed) not in "".join(stream)
    assert "document_id" not in "".join([*of_other, *of_owners])
