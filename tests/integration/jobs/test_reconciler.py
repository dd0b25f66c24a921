"""The reconciler's sweep, with a queue that is long, short or away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

import pytest
import redis
from tortoise import connections

from app.core.config import Settings
from app.core.database import database
from app.jobs.reconciler import BATCH, Reconciler
from app.models.document import Document, NewDocument
from tests.support import emptied_database


@pytest.fixture(autouse=True)
async def opened(settings: Settings, migrated: None) -> AsyncIterator[None]:
    async with database(settings):
        await emptied_database()
        yield


class Queue:
    """What is sent, and how long the queue says it is."""

    def __init__(self, *, length: int = 0, fails_after: int = 1000) -> None:
        self.length = length
        self.fails_after = fails_after
        self.sent: list[str] = []

    def send(self, document_id: str) -> None:
        if len(self.sent) >= self.fails_after:
            raise redis.ConnectionError("away")
        self.sent.append(document_id)

    async def swept(self) -> list[str]:
        await Reconciler(send=self.send, queue_length=lambda: self.length, every_s=1).sweep()
        sent, self.sent = sorted(self.sent), []
        return sent


async def accepted(number: int) -> UUID:
    new = NewDocument(sha256=f"{number:064d}", size_bytes=1, media_type="text/plain", content=b"x")
    return (await Document.accept(new)).document_id


async def run(statement: str) -> None:
    await connections.get("default").execute_query(statement)


async def test_what_is_late_is_sent_again_but_not_into_a_long_queue() -> None:
    document_id = await accepted(1)
    assert await Queue().swept() == []
    await run("UPDATE documents SET send_at = now()")

    assert await Queue(length=BATCH).swept() == []
    assert await Queue(length=BATCH - 1).swept() == [str(document_id)]


async def test_a_dead_workers_document_is_sent_however_long_the_queue_is() -> None:
    document_id = await accepted(1)
    await Document.claim(document_id, owner="dead", lease_s=1)
    await run("UPDATE documents SET lease_expires_at = now() - interval '1 s'")

    assert await Queue(length=10 * BATCH).swept() == [str(document_id)]
    document = await Document.get(id=document_id)
    assert (document.status, document.failures) == ("PENDING", 1)


async def test_what_could_not_be_sent_is_sent_by_the_next_sweep() -> None:
    ids = sorted([str(await accepted(number)) for number in range(5)])
    await run("UPDATE documents SET send_at = now()")

    first = await Queue(fails_after=2).swept()
    assert len(first) == 2
    assert sorted(first + await Queue(length=10 * BATCH).swept()) == ids
    assert await Queue().swept() == []
