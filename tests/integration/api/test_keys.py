"""Keys that are made by a call: what they open, until when, and what is remembered of them."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from app.core.config import Settings
from app.core.database import connect
from app.models import api_key
from app.models.api_key import ApiKey, digest_of
from app.models.sql import fetch
from app.services import key_service
from app.services.key_service import KeyService, new_secret
from tests.keys import HAS_KEYS, OWNER, bearer, made_key


@pytest.fixture
def limits() -> dict[str, object]:
    return HAS_KEYS


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered is looked up again within a moment."""
    monkeypatch.setattr(key_service, "REMEMBERED_S", 0.1)


async def status(client: httpx.AsyncClient, secret: str, path: str = "/documents") -> int:
    return (await client.get(path, headers=bearer(secret))).status_code


async def becomes(client: httpx.AsyncClient, secret: str, expected: int) -> None:
    async with asyncio.timeout(5):
        while await status(client, secret) != expected:
            await asyncio.sleep(0.01)


async def test_a_secret_is_shown_once_and_kept_as_a_digest(client: httpx.AsyncClient) -> None:
    asked = {"name": "wiki", "collections": ["wiki", "old/wiki", "wiki"], "may_write": False}
    answer = await client.post("/keys", json=asked, headers=bearer(OWNER))
    key = answer.json()
    secret = key.pop("secret")
    (row,) = await fetch("SELECT * FROM api_keys")

    assert secret.startswith("sluice_")
    assert len(secret) >= len("sluice_") + 43  # 32 bytes in base64.
    assert secret.startswith(key["begins"])
    assert len(key["begins"]) < 16
    assert answer.headers["location"] == f"/keys/{key['key_id']}"
    assert answer.headers["cache-control"] == "no-store"
    assert row["digest"] == hashlib.sha256(secret.encode()).digest()
    assert secret not in repr(row)
    assert key["collections"] == ["old/wiki", "wiki"]
    for path in ("/keys", f"/keys/{key['key_id']}"):
        shown = await client.get(path, headers=bearer(OWNER))
        assert secret not in shown.text
        assert key in (shown.json().get("keys", [shown.json()]))


@pytest.mark.parametrize(
    ("asked", "pointer"),
    [
        ({"name": " "}, "/name"),
        ({"name": "a\x00b"}, "/name"),
        ({"name": "n" * 201}, "/name"),
        ({"collections": []}, "/collections"),
        ({"collections": ["c" * 201]}, "/collections/0"),
        ({"collections": ["c"] * 101}, "/collections"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
        ({"expires_at": "2100-01-01T00:00:00"}, "/expires_at"),  # Of no time zone.
        ({"secret": "my own"}, "/secret"),
    ],
)
async def test_what_no_key_can_be_is_refused(
    client: httpx.AsyncClient, asked: dict[str, Any], pointer: str
) -> None:
    answer = await client.post("/keys", json={"name": "somebody", **asked}, headers=bearer(OWNER))

    assert answer.status_code == 422
    assert [each["pointer"] for each in answer.json()["errors"]] == [pointer]


async def test_there_is_an_end_to_keys(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_key, "MOST", 1)
    await made_key(client)

    answer = await client.post("/keys", json={"name": "one more"}, headers=bearer(OWNER))

    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_keys")


async def test_a_made_key_makes_sees_and_removes_none(client: httpx.AsyncClient) -> None:
    key = await made_key(client)
    calls = [("POST", "/keys"), ("GET", "/keys"), ("GET", f"/keys/{key['key_id']}")]
    for method, path in [*calls, ("DELETE", f"/keys/{key['key_id']}")]:
        body = {"name": "another"} if method == "POST" else None
        answer = await client.request(method, path, json=body, headers=bearer(key["secret"]))
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), (method, path)
        assert "API_KEYS" in answer.json()["detail"]

    assert await status(client, key["secret"], "/stats") == 200  # But opens all else.


@pytest.mark.parametrize("limits", [{}])
async def test_where_everybody_is_let_in_no_key_is_made(client: httpx.AsyncClient) -> None:
    answer = await client.post("/keys", json={"name": "somebody"})

    assert (answer.status_code, answer.json()["code"]) == (409, "open_to_all")
    assert "would protect nothing" in answer.json()["detail"]
    assert (await client.get("/keys")).json() == {"keys": []}


async def test_a_removed_key_opens_nothing_any_more(client: httpx.AsyncClient) -> None:
    key, other = await made_key(client), await made_key(client)
    assert [await status(client, each["secret"]) for each in (key, other)] == [200, 200]

    gone = [await client.delete(f"/keys/{key['key_id']}", headers=bearer(OWNER)) for _ in range(2)]

    assert [answer.status_code for answer in gone] == [204, 404]
    assert gone[1].json()["code"] == "key_not_found"
    assert [await status(client, each["secret"]) for each in (key, other)] == [401, 200]
    seen = await client.get(f"/keys/{key['key_id']}", headers=bearer(OWNER))
    assert (seen.status_code, seen.json()["code"]) == (404, "key_not_found")


async def test_another_process_follows_when_what_it_remembers_is_old(
    client: httpx.AsyncClient, soon: None
) -> None:
    key = await made_key(client)
    assert await status(client, key["secret"]) == 200

    await fetch("DELETE FROM api_keys RETURNING id")

    await becomes(client, key["secret"], 401)


async def test_a_key_expires_to_the_moment_whatever_is_remembered(client: httpx.AsyncClient) -> None:
    key = await made_key(client, expires_at=(datetime.now(UTC) + timedelta(seconds=0.5)).isoformat())
    assert await status(client, key["secret"]) == 200

    await becomes(client, key["secret"], 401)

    assert datetime.now(UTC) >= datetime.fromisoformat(key["expires_at"])


async def test_the_use_of_a_key_is_noted_to_the_minute(
    client: httpx.AsyncClient, app: FastAPI, soon: None
) -> None:
    key = await made_key(client)
    assert key["last_used_at"] is None

    async def used(since: datetime | None) -> datetime:
        async with asyncio.timeout(5):
            while True:
                await status(client, key["secret"])
                at = (await ApiKey.get(key["key_id"])).last_used_at
                if at is not None and (since is None or at > since):
                    return at
                await asyncio.sleep(0.01)

    first = await used(None)
    app.state.resources.keys.forget()
    assert await used(None) == first  # Of this minute, it is known.
    await fetch("UPDATE api_keys SET last_used_at = last_used_at - interval '61 s' RETURNING id")
    await used(first)


# --- Looking up ---------------------------------------------------------------------------------------------


async def test_a_call_costs_a_look_at_the_database_only_when_its_key_is_not_remembered(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    key = await made_key(client)
    keys: KeyService = app.state.resources.keys
    guess, misfit = new_secret(), "not-made-by-us"

    for secret in (OWNER, misfit, key["secret"], key["secret"], guess, guess):
        await status(client, secret)
    await asyncio.gather(*(status(client, key["secret"]) for _ in range(20)))

    assert keys.looks == 2  # Of the key, and of the guess.


async def test_whoever_guesses_pushes_out_no_key_and_fills_no_memory(
    client: httpx.AsyncClient, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_service, "MOST_REMEMBERED", 3)
    key = await made_key(client)
    await status(client, key["secret"])
    for _ in range(8):
        assert await status(client, new_secret()) == 401
    keys: KeyService = app.state.resources.keys
    looks = keys.looks

    assert await status(client, key["secret"]) == 200
    assert keys.looks == looks
    assert len(keys._others._verdicts) == 3


@asynccontextmanager
async def unreadable(settings: Settings) -> AsyncIterator[None]:
    """The table of keys does not answer."""
    connection: asyncpg.Connection = await connect(settings)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE api_keys IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        await connection.close()


async def test_while_the_database_does_not_answer_only_what_is_remembered_is_let_in(
    client: httpx.AsyncClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_service, "LOOK_S", 0.1)
    monkeypatch.setattr(key_service, "REMEMBERED_S", 1)
    known, other = await made_key(client), await made_key(client)
    async with unreadable(settings):
        pass  # No connection has to be made below, which takes time.
    assert await status(client, known["secret"]) == 200

    async with unreadable(settings):
        assert await status(client, known["secret"]) == 200
        answer = await client.get("/documents", headers=bearer(other["secret"]))
        assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
        assert await status(client, OWNER) == 200
        await becomes(client, known["secret"], 503)

    assert [await status(client, each["secret"]) for each in (known, other)] == [200, 200]


# --- Calls that last ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/events", 200), ("/documents/{id}/events", 200), ("/documents/{id}?wait=60", 401)],
)
@pytest.mark.parametrize("is_expiry", [False, True])
async def test_a_call_that_lasts_ends_with_its_key(
    client: httpx.AsyncClient, soon: None, *, path: str, expected: int, is_expiry: bool
) -> None:
    taken = await client.post("/ingest", json={"text": "The upper gate opens at six."}, headers=bearer(OWNER))
    expires_at = (datetime.now(UTC) + timedelta(seconds=0.4)).isoformat() if is_expiry else None
    key = await made_key(client, collections=["default"], expires_at=expires_at)
    path = path.replace("{id}", taken.json()["document_id"])
    call = asyncio.create_task(client.get(path, headers=bearer(key["secret"])))
    done, _ = await asyncio.wait({call}, timeout=0.25)
    assert not done

    if not is_expiry:
        await fetch("DELETE FROM api_keys RETURNING id")

    answer = await asyncio.wait_for(call, 5)
    assert answer.status_code == expected
    assert ("www-authenticate" in answer.headers) == (expected == 401)


async def test_a_batch_ends_with_its_key_and_what_came_before_is_taken(
    client: httpx.AsyncClient, soon: None
) -> None:
    key = await made_key(client, collections=["default"])

    async def lines() -> AsyncIterator[bytes]:
        yield b'{"text": "One."}\n'
        await fetch("DELETE FROM api_keys RETURNING id")
        await becomes(client, key["secret"], 401)
        yield b'{"text": "Two."}\n'

    headers = bearer(key["secret"]) | {"content-type": "application/x-ndjson"}
    answer = (await client.post("/ingest/batch", content=lines(), headers=headers)).json()

    assert [item["created"] for item in answer["items"]] == [True]
    assert answer["error"]["code"] == "unauthorized"


async def test_secrets_are_in_no_log_and_no_answer(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(key_service, "LOOK_S", 0)  # So that a look fails, and is logged.
    guess = new_secret()

    answers = [await client.get(f"/documents/{uuid4()}", headers=bearer(guess)) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [503, 503]
    for place in (caplog.text, *(answer.text for answer in answers)):
        assert guess not in place
        assert digest_of(guess.encode()).hex() not in place
