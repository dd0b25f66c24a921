"""Lifelines: a worker that dies is given up soon, and one that lives is not, whatever its connections do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from app.core.config import Settings
from app.core.database import connect, database
from app.models import acceptance, backlog, workers
from app.models.acceptance import NewDocument
from app.models.document import Document
from app.models.sql import fetch
from app.models.workers import Lifeline
from app.services.presence import seen_alive
from tests.support import emptied_database

NAME = "host:1:abc"


@pytest.fixture(autouse=True)
async def opened(settings: Settings, migrated: None) -> AsyncIterator[None]:
    async with database(settings):
        await emptied_database()
        await fetch("DELETE FROM workers RETURNING name")
        yield


@pytest.fixture
def connecting(settings: Settings) -> Callable[[], Awaitable[asyncpg.Connection]]:
    return lambda: connect(settings)


async def key_of(name: str) -> int | None:
    rows = await fetch("SELECT lifeline FROM workers WHERE name = $1", name)
    return rows[0]["lifeline"] if rows else None


async def until_tied(*, other_than: int | None = None) -> int:
    async with asyncio.timeout(10):
        while (key := await key_of(NAME)) in {None, other_than}:
            await asyncio.sleep(0.01)  # Between two looks.
    assert key is not None
    return key


async def claimed(owner: str = NAME, number: int = 0) -> Document:
    new = NewDocument(sha256=f"{number:064d}", size_bytes=1, media_type="text/plain", content=b"x")
    document = await Document.claim((await acceptance.accept(new)).document_id, owner=owner, lease_s=3600)
    assert document is not None
    return document


async def died(connecting: Callable[[], Awaitable[asyncpg.Connection]], name: str, key: int) -> Lifeline:
    """A worker has lived, and its connections have ended with it."""
    connection = await connecting()
    await workers.tie(connection, key)
    await workers.say_alive(name, for_s=3600, key=key, connection=connection)
    assert await workers.torn() == set()
    await connection.close()
    async with asyncio.timeout(10):
        while not (torn := await workers.torn()):
            await asyncio.sleep(0.01)  # Until the server has noticed.
    (lifeline,) = torn
    assert lifeline == (name, key)
    return lifeline


async def test_what_a_dead_worker_had_is_free_although_its_lease_holds(connecting) -> None:
    document, others = await claimed(), await claimed("host:2:abc", 1)
    lifeline = await died(connecting, NAME, 7)
    assert await backlog.reap(limit=10, backoff_s=0) == []

    assert await workers.give_up([lifeline]) == [NAME]
    assert await backlog.reap(limit=10, backoff_s=0) == [document.id]
    assert (await Document.get(id=others.id)).status == "PROCESSING"
    assert await workers.torn() == set()
    assert {worker.name for worker in await workers.alive()} == {"host:2:abc"}


async def test_who_has_tied_another_one_is_not_given_up(connecting) -> None:
    document = await claimed()
    lifeline = await died(connecting, NAME, 7)
    connection = await connecting()
    await workers.tie(connection, 8)
    await workers.say_alive(NAME, for_s=3600, key=8, connection=connection)

    assert await workers.torn() == set()
    assert await workers.give_up([lifeline]) == []
    assert await backlog.reap(limit=10, backoff_s=0) == []
    assert (await Document.get(id=document.id)).status == "PROCESSING"
    await connection.close()


async def test_who_has_none_is_never_torn() -> None:
    await workers.say_alive(NAME, for_s=3600)
    assert await workers.torn() == set()
    assert await workers.give_up([Lifeline(NAME, 0)]) == []


async def test_a_lifeline_that_the_server_ended_is_tied_again_at_once(connecting) -> None:
    async with seen_alive(NAME, connecting, every_s=3600, for_s=7200):
        first = await until_tied()
        assert await workers.torn() == set()
        await fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
            " AND classid::bigint << 32 | objid::bigint = $1",
            first,
        )
        await until_tied(other_than=first)
        assert await workers.torn() == set()
    assert await workers.alive() == []


async def test_without_a_connection_of_its_own_a_worker_is_seen_all_the_same(connecting) -> None:
    refused = [asyncpg.TooManyConnectionsError("sorry, too many clients already"), ConnectionRefusedError()]

    async def connect_at_the_third_try() -> asyncpg.Connection:
        if not refused:
            return await connecting()
        assert (await workers.alive() != []) == (len(refused) == 1)  # From the first try on.
        raise refused.pop(0)

    with capture_logs() as logs:
        async with seen_alive(NAME, connect_at_the_third_try, every_s=0.01, for_s=3600):
            await until_tied()
    assert [each["event"] for each in logs] == ["lifeline_failed"]


class Pooled:
    """A connection of a pooler that takes another one of the server's for each transaction."""

    def __init__(self, *behind: Any) -> None:
        self._behind = behind

    def add_termination_listener(self, listener: object) -> None:
        pass

    async def fetchval(self, *asked: Any) -> Any:
        return await self._behind[0].fetchval(*asked)

    async def fetch(self, *asked: Any) -> Any:
        return await self._behind[1].fetch(*asked)

    def terminate(self) -> None:
        for connection in self._behind:
            connection.terminate()


async def test_behind_a_pooler_a_worker_has_no_lifeline(connecting) -> None:
    made = asyncio.Event()

    async def pooled() -> Any:
        if made.is_set():
            await asyncio.Event().wait()
        made.set()
        return Pooled(await connecting(), await connecting())

    with capture_logs() as logs:
        async with seen_alive(NAME, pooled, every_s=0.01, for_s=3600), asyncio.timeout(10):
            while not logs or await key_of(NAME) is not None or not await workers.alive():
                await asyncio.sleep(0.01)  # Between two looks.
    assert "pooler" in logs[0]["error"]
