"""A client that falls silent inside a transaction does not keep its rows for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import asyncpg
import numpy as np
import pytest

from app.core import database as core
from app.core.config import Settings
from app.core.database import database
from app.models import acceptance, backlog
from app.models.acceptance import NewDocument
from app.models.chunk import Chunk, NewChunk
from app.models.document import Document, Ingested
from tests.support import emptied_database

CHUNK = NewChunk("gate", 0, 4, None, None, (), 1, np.full(64, 0.125, np.float16))


@pytest.fixture(autouse=True)
async def opened(settings: Settings, migrated: None, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    monkeypatch.setattr(core, "SILENT_AT_MOST_S", 1)
    async with database(settings):
        await emptied_database()
        yield


class Stopped:
    """A worker that is stopped on its way through `complete`, and goes on when it is told to."""

    def __init__(self, document: Document) -> None:
        self.is_there = asyncio.Event()
        self.goes_on = asyncio.Event()
        ingested = Ingested(space_id=1, media_type="text/plain", title=None, warnings=[], chunks=[CHUNK])
        self.completing = asyncio.create_task(document.complete(ingested))

    async def stop(self) -> None:
        self.is_there.set()
        await self.goes_on.wait()


async def claimed(*, lease_s: float) -> Document:
    new = NewDocument(sha256="0" * 64, size_bytes=1, media_type="text/plain", content=b"x")
    document = await Document.claim((await acceptance.accept(new)).document_id, owner="a", lease_s=lease_s)
    assert document is not None
    return document


async def is_failed_without_chunks(document: Document) -> bool:
    return not await Chunk.exists() and (await Document.get(id=document.id)).status == "FAILED"


async def test_the_lock_of_a_worker_that_was_stopped_between_two_statements_is_let_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    document = await claimed(lease_s=30)
    worker = Stopped(document)

    async def store(*_: object) -> AsyncIterator[int]:
        await worker.stop()
        yield 0

    monkeypatch.setattr(Chunk, "store", store)
    await worker.is_there.wait()

    # It waits for the row's lock, which only the server's own timeout can free.
    async with asyncio.timeout(15):
        assert await Document.cancel(document.id)

    worker.goes_on.set()
    with pytest.raises(core.BROKEN):
        await worker.completing
    assert await is_failed_without_chunks(document)


async def test_the_lock_of_a_worker_that_was_stopped_while_it_copies_is_let_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    document = await claimed(lease_s=1)
    worker = Stopped(document)
    copy = asyncpg.Connection.copy_records_to_table

    async def copy_slowly(self: asyncpg.Connection, table: str, *, records: Iterator, columns) -> object:
        async def slow() -> AsyncIterator[object]:
            for record in records:
                await worker.stop()
                yield record

        return await copy(self, table, records=slow(), columns=columns)

    monkeypatch.setattr(asyncpg.Connection, "copy_records_to_table", copy_slowly)
    await worker.is_there.wait()
    async with asyncio.timeout(15):
        while not await backlog.end_silent_writers(silent_s=0):
            # Its lease has not run out yet, or the server does not wait for it yet.
            assert await backlog.reap(limit=10, backoff_s=0) == []
            assert not worker.completing.done()
        assert await Document.cancel(document.id)

    worker.goes_on.set()
    with pytest.raises(core.BROKEN):
        await worker.completing
    assert await is_failed_without_chunks(document)


async def test_a_writer_that_has_been_silent_for_a_moment_only_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    document = await claimed(lease_s=0)
    worker = Stopped(document)

    async def store(*_: object) -> AsyncIterator[int]:
        await worker.stop()
        yield 0

    monkeypatch.setattr(Chunk, "store", store)
    await worker.is_there.wait()

    assert await backlog.end_silent_writers(silent_s=3600) == 0
    worker.goes_on.set()
    assert await worker.completing
