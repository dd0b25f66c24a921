"""Lifelines: a worker that dies is given up soon, and one that lives is not, whatever its connections do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from structlog.testing import capture_logs

from app.core.config import Settings
from app.core.database import connect, database
from app.models import acceptance, backlog, workers
from app.models.acceptance import NewDocument
from app.models.document import Document
from app.models.sql import fetch, transaction
from app.models.workers import Lifeline
from app.services.presence import seen_alive
from tests.chaos.rig import with_port
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
        assert [worker.name for worker in await workers.alive()] == [NAME]
        raise refused.pop(0)

    with capture_logs() as logs:
        async with seen_alive(NAME, connect_at_the_third_try, every_s=0.01, for_s=3600):
            await until_tied()
    assert [each["event"] for each in logs] == ["lifeline_failed"]


class Pooled:
    """A connection of a pooler, which has to invent the id of its server process."""

    def __init__(self, behind: asyncpg.Connection) -> None:
        self.fetchval = behind.fetchval
        self.terminate = behind.terminate
        self.add_termination_listener = behind.add_termination_listener

    def get_server_pid(self) -> int:
        return 0


async def test_behind_a_pooler_a_worker_has_no_lifeline(connecting) -> None:
    async def pooled() -> Any:
        return Pooled(await connecting())

    with capture_logs() as logs:
        async with seen_alive(NAME, pooled, every_s=0.01, for_s=3600), asyncio.timeout(10):
            while not logs:
                await asyncio.sleep(0.01)  # Between two looks.
            assert [worker.name for worker in await workers.alive()] == [NAME]
            assert await key_of(NAME) is None
    assert [each["event"] for each in logs] == ["lifeline_failed"]
    assert "pooler" in logs[0]["error"]


class Gateway:
    """Passes connections on to the database, until it forgets them: only the server hears of that."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._clients: list[asyncio.StreamWriter] = []
        self._servers: list[asyncio.StreamWriter] = []

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as listening:
            yield listening.sockets[0].getsockname()[1]
            for writer in (*self._clients, *self._servers):
                writer.close()

    def forget(self) -> None:
        for writer in self._servers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        answers, server = await asyncio.open_connection("127.0.0.1", self._port)
        self._clients.append(client)
        self._servers.append(server)
        await asyncio.gather(self._pass(reader, server), self._pass(answers, client), return_exceptions=True)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while block := await reader.read(65536):
            writer.write(block)


async def test_a_lifeline_that_a_network_forgot_is_missed_before_the_next_beat(settings: Settings) -> None:
    gateway = Gateway(urlsplit(settings.DATABASE_URL).port or 0)
    async with gateway.serving() as port:
        url = with_port(settings.DATABASE_URL, port)
        through = settings.model_copy(update={"DATABASE_URL": url})
        async with seen_alive(NAME, lambda: connect(through, timeout_s=0.5), every_s=3600, for_s=7200):
            first = await until_tied()
            gateway.forget()
            await until_tied(other_than=first)
            assert await workers.torn() == set()


async def test_a_document_that_is_locked_when_its_worker_is_given_up_is_freed_later(connecting) -> None:
    document = await claimed()
    lifeline = await died(connecting, NAME, 7)
    async with transaction() as db:
        await fetch("SELECT id FROM documents WHERE id = $1 FOR UPDATE", document.id, db=db)
        # As another process would do it.
        assert await asyncio.create_task(workers.give_up([lifeline]), context=Context()) == []

    assert await workers.torn() == {lifeline}
    assert await workers.give_up([lifeline]) == [NAME]
    assert await backlog.reap(limit=10, backoff_s=0) == [document.id]
