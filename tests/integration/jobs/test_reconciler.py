"""The reconciler's sweep, with a queue that is long, short, emptied or away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID

import pytest
import redis
from tortoise import connections

from app.core.broker import QueueState
from app.core.config import Settings
from app.core.database import connect, database
from app.jobs import reconciler
from app.jobs.lanes import LANES, Lanes
from app.jobs.reconciler import BATCH, Reconciler
from app.models import acceptance, backlog, workers
from app.models.acceptance import NewDocument
from app.models.document import Document
from tests.support import emptied_database

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
async def opened(settings: Settings, migrated: None) -> AsyncIterator[None]:
    async with database(settings):
        await emptied_database()
        await run("DELETE FROM workers")
        yield


class Queue:
    """What is sent, and how the queue says it is."""

    def __init__(self, *, length: int = 0, fails_after: int = 1000, is_new: bool = False) -> None:
        self.length = length
        self.fails_after = fails_after
        self.emptied_at = None if is_new else LONG_AGO
        self.sent: list[str] = []
        self.is_away = False

    def send(self, document_id: str) -> None:
        if self.is_away or len(self.sent) >= self.fails_after:
            raise redis.ConnectionError("away")
        self.sent.append(document_id)

    def look(self) -> QueueState:
        if self.is_away:
            raise redis.TimeoutError("silent")
        return QueueState(self.length, self.emptied_at)

    def mark(self, now: datetime) -> datetime:
        self.emptied_at = now
        return now

    def reconciler(self, work_on_next: object = None, *, every_s: float = 1) -> Reconciler:
        return Reconciler(
            send=self.send,
            look=self.look,
            mark=self.mark,
            work_on_next=work_on_next or nothing_is_due,  # type: ignore[arg-type]
            lanes=Lanes(),
            myself=lambda: "me",
            every_s=every_s,
            backoff_s=0,
        )

    async def swept(self) -> list[str]:
        try:
            await self.reconciler().sweep()
        except redis.RedisError:
            assert self.fails_after < 1000
        sent, self.sent = sorted(self.sent), []
        return sent


async def nothing_is_due() -> bool:
    return False


async def accepted(number: int) -> UUID:
    new = NewDocument(sha256=f"{number:064d}", size_bytes=1, media_type="text/plain", content=b"x")
    return (await acceptance.accept(new)).document_id


async def run(statement: str) -> None:
    await connections.get("default").execute_query(statement)


async def test_what_is_late_is_sent_again_but_not_into_a_long_queue() -> None:
    document_id = await accepted(1)
    assert await Queue().swept() == []
    await run("UPDATE documents SET sent_at = now() - interval '1 h'")

    assert await Queue(length=BATCH).swept() == []
    assert await Queue(length=BATCH - 1).swept() == [str(document_id)]


async def test_while_the_queue_is_long_each_sweep_works_on_the_document_that_waited_longest() -> None:
    calls = 0

    async def work_on_next() -> bool:
        nonlocal calls
        calls += 1
        return True

    for length, expected in ((BATCH - 1, 0), (BATCH, 1)):
        sweeping = Queue(length=length).reconciler(work_on_next)
        await sweeping.sweep()
        await sweeping.close()
        assert calls == expected


class Clock:
    """Seconds, of which nothing passes by itself."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(reconciler.time, "monotonic", lambda: self.now)


async def died(settings: Settings, name: str) -> None:
    """A worker whose lifeline was cut."""
    connection = await connect(settings)
    await workers.tie(connection, 7)
    await workers.say_alive(name, for_s=3600, key=7, connection=connection)
    await connection.close()
    async with asyncio.timeout(10):
        while not await workers.torn():
            await asyncio.sleep(0.01)  # Until the server has noticed.


async def test_a_worker_is_given_up_whose_lifeline_is_torn_at_two_sweeps(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    document_id = await accepted(1)
    await Document.claim(document_id, owner="dead", lease_s=3600)
    await died(settings, "dead")
    queue, clock = Queue(), Clock(monkeypatch)
    sweeping = queue.reconciler(every_s=5)
    for later_s, sent in ((0, []), (1, []), (4, [str(document_id)])):
        clock.now += later_s
        await sweeping.sweep()
        assert queue.sent == sent
    assert await workers.alive() == []


async def test_a_sweep_that_saw_nothing_is_none_and_does_all_else(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await died(settings, "dead")
    clock = Clock(monkeypatch)
    sweeping = Queue().reconciler(every_s=5)
    await sweeping.sweep()
    clock.now += 5
    await run("ALTER TABLE workers RENAME TO elsewhere")
    try:
        await sweeping.sweep()
    finally:
        await run("ALTER TABLE elsewhere RENAME TO workers")
    await sweeping.sweep()
    assert [worker.name for worker in await workers.alive()] == ["dead"]
    clock.now += 5
    await sweeping.sweep()
    assert await workers.alive() == []


async def test_a_worker_does_not_give_itself_up(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    await died(settings, "me")
    clock = Clock(monkeypatch)
    sweeping = Queue().reconciler(every_s=5)
    for _ in range(3):
        await sweeping.sweep()
        clock.now += 5
    assert [worker.name for worker in await workers.alive()] == ["me"]


async def test_a_dead_workers_document_is_sent_however_long_the_queue_is() -> None:
    document_id = await accepted(1)
    await Document.claim(document_id, owner="dead", lease_s=1)
    await run("UPDATE documents SET lease_expires_at = now() - interval '1 s'")

    assert await Queue(length=10 * BATCH).swept() == [str(document_id)]
    document = await Document.get(id=document_id)
    assert (document.status, document.failures) == ("PENDING", 1)


async def test_what_could_not_be_sent_is_sent_by_the_next_sweep() -> None:
    ids = sorted([str(await accepted(number)) for number in range(5)])
    await run("UPDATE documents SET sent_at = now() - interval '1 h'")

    first = await Queue(fails_after=2).swept()
    assert len(first) == 2
    assert sorted(first + await Queue(length=10 * BATCH).swept()) == ids
    assert await Queue().swept() == []


async def test_an_emptied_queue_is_filled_again_at_once_and_only_once() -> None:
    ids = sorted([str(await accepted(number)) for number in range(5)])
    emptied = Queue(length=10 * BATCH, is_new=True)

    assert await emptied.swept() == ids
    assert await emptied.swept() == []


async def test_a_full_sweep_says_that_there_is_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciler, "BATCH", 3)
    for number in range(4):
        await accepted(number)
    await run("UPDATE documents SET sent_at = 'epoch'")

    assert await Queue().reconciler().sweep() is True
    assert await Queue().reconciler().sweep() is False


async def test_a_slow_queue_does_not_keep_a_sweep_from_the_next() -> None:
    for number in range(5):
        await accepted(number)
    await run("UPDATE documents SET sent_at = 'epoch'")
    queue = Queue()

    await queue.reconciler(every_s=0).sweep()  # Any queue is too slow for that.

    assert 1 <= len(queue.sent) < 5
    assert len(await queue.swept()) == 5  # All that was ever sent: each once.


async def test_while_the_queue_is_silent_due_documents_are_worked_on_without_messages() -> None:
    ids = [await accepted(number) for number in range(LANES * 2)]
    queue, done = Queue(), asyncio.Event()
    at_once, most_at_once = 0, 0

    async def work_on_next() -> bool:
        nonlocal at_once, most_at_once
        document = await backlog.claim_due(owner="me", lease_s=30)
        if document is None:
            return False
        at_once += 1
        most_at_once = max(most_at_once, at_once)
        await asyncio.sleep(0)
        await document.fail(ValueError("worked on"))
        at_once -= 1
        if await Document.filter(status="FAILED").count() == len(ids):
            done.set()
        return True

    bridge = queue.reconciler(work_on_next, every_s=0.02)
    bridge.start()
    try:
        queue.is_away = True
        async with asyncio.timeout(20):
            await done.wait()
        assert 1 <= most_at_once <= LANES
        queue.is_away = False
        async with asyncio.timeout(20):
            while bridge._silent_since is not None:
                await asyncio.sleep(0.01)  # Between two looks.
        late = await accepted(999)
        await bridge.close()
    finally:
        bridge.stop()
    assert queue.sent == []
    assert (await Document.get(id=late)).status == "PENDING"
