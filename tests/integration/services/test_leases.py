"""Leases: what is kept, what is stopped, and that stopping never leaks out of the block."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from structlog.testing import capture_logs

from app.core.config import Settings
from app.core.database import connect, database
from app.errors import Interrupted, LeaseLost
from app.models import acceptance
from app.models.acceptance import NewDocument
from app.models.document import Document, Ingested, Stage
from app.models.sql import transaction
from app.services.leases import Leases
from tests.support import emptied_database


@pytest.fixture(autouse=True)
async def opened(settings: Settings, migrated: None) -> AsyncIterator[None]:
    async with database(settings):
        await emptied_database()
        yield


@pytest.fixture
async def leases(settings: Settings) -> AsyncIterator[Leases]:
    async with Leases(lambda: connect(settings), lease_s=30, beat_s=0.04) as leases:
        yield leases


async def claimed(number: int = 0) -> Document:
    new = NewDocument(sha256=f"{number:064d}", size_bytes=1, media_type="text/plain", content=b"x")
    accepted = await acceptance.accept(new)
    document = await Document.claim(accepted.document_id, owner="a", lease_s=1)
    assert document is not None
    return document


async def until(condition: Callable[[Document], bool], document_id: UUID) -> Document:
    async with asyncio.timeout(10):
        while not condition(document := await Document.get(id=document_id)):
            await asyncio.sleep(0.01)  # Between two looks.
    return document


async def until_logged(logs: list[Any], count: int) -> None:
    async with asyncio.timeout(10):
        while len(logs) < count:
            await asyncio.sleep(0.01)  # Between two looks.


async def test_a_held_lease_is_renewed_and_progress_written(leases: Leases) -> None:
    document = await claimed()
    first = document.lease_expires_at
    async with leases.held(document):
        document.progress_unit, document.progress_done = "chunks", 7
        now = await until(lambda row: row.progress_done == 7, document.id)

    assert now.lease_expires_at > first


async def test_progress_is_written_at_once_where_it_cannot_wait_for_the_next_beat(settings: Settings) -> None:
    document = await claimed()
    async with Leases(lambda: connect(settings), lease_s=30, beat_s=30) as leases, leases.held(document):
        document.enter(Stage.STORING, unit="chunks", total=1000)

        await leases.write_down(document)

        now = await Document.get(id=document.id)
        assert (now.stage, now.progress_unit, now.progress_done, now.progress_total) == (
            "storing",
            "chunks",
            0,
            1000,
        )


async def test_the_work_on_a_lost_document_is_stopped(leases: Leases) -> None:
    document = await claimed()
    with pytest.raises(LeaseLost):
        async with leases.held(document):
            await Document.cancel(document.id)
            await asyncio.sleep(30)

    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]


async def test_a_stop_that_comes_out_as_another_error_is_the_stop_all_the_same(leases: Leases) -> None:
    document = await claimed()
    with pytest.raises(LeaseLost):
        async with leases.held(document):
            await Document.cancel(document.id)
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                raise ValueError("while clearing up") from None

    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]


async def test_losing_one_document_stops_no_other(leases: Leases) -> None:
    kept, lost = await claimed(1), await claimed(2)

    async def work(document: Document) -> str:
        async with leases.held(document):
            await until(lambda row: row.status == "FAILED", lost.id)
            await until(lambda row: row.lease_expires_at > kept.lease_expires_at, kept.id)
        return "done"

    async def lose() -> str:
        with pytest.raises(LeaseLost):
            async with leases.held(lost):
                await Document.cancel(lost.id)
                await asyncio.sleep(30)
        return "lost"

    assert await asyncio.gather(work(kept), lose()) == ["done", "lost"]


async def test_work_on_several_goes_on_until_all_of_them_are_lost(leases: Leases) -> None:
    documents = [await claimed(1), await claimed(2)]
    with capture_logs() as logs, pytest.raises(LeaseLost):
        async with leases.held(*documents):
            await Document.cancel(documents[0].id)
            # Beats that come after the one that found it lost.
            for _ in range(2):
                now = await Document.get(id=documents[1].id)
                await until(lambda row, now=now: row.lease_expires_at > now.lease_expires_at, documents[1].id)
            await until_logged(logs, 1)
            await Document.cancel(documents[1].id)
            await asyncio.sleep(30)

    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
    assert [log["document_id"] for log in logs] == [str(document.id) for document in documents]


async def test_what_must_not_be_cancelled_is_not_and_keeps_the_lease_meanwhile(leases: Leases) -> None:
    kept, lost = await claimed(1), await claimed(2)
    with capture_logs() as logs:
        with leases.renewed(kept), leases.renewed(lost):
            await Document.cancel(lost.id)
            await until_logged(logs, 1)
            await until(lambda row: row.lease_expires_at > kept.lease_expires_at, kept.id)
            draining = asyncio.create_task(leases.drain(60))
        async with asyncio.timeout(5):
            await draining  # It has waited for them, and for nothing more.

    assert leases.documents() == []
    assert [log["document_id"] for log in logs] == [str(lost.id)]


async def test_draining_interrupts_the_work_on_several(leases: Leases) -> None:
    documents = [await claimed(1), await claimed(2)]
    with pytest.raises(Interrupted):
        async with leases.held(*documents), asyncio.TaskGroup() as beside:
            beside.create_task(leases.drain(0))
            await asyncio.sleep(30)

    assert leases.documents() == []
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]


async def test_draining_lets_work_finish_then_interrupts_the_rest_and_takes_nothing_new(
    leases: Leases,
) -> None:
    finishing, endless, late = await claimed(1), await claimed(2), await claimed(3)
    draining = asyncio.Event()

    async def finish() -> None:
        async with leases.held(finishing):
            await draining.wait()

    async def go_on() -> None:
        async with leases.held(endless):
            draining.set()
            await asyncio.sleep(30)

    async def begin_late() -> None:
        async with leases.held(late):
            raise AssertionError("not while draining")

    work = [asyncio.create_task(finish()), asyncio.create_task(go_on())]
    await draining.wait()
    await leases.drain(0.2)
    results = await asyncio.gather(*work, begin_late(), return_exceptions=True)

    assert results[0] is None
    assert [type(result) for result in results[1:]] == [Interrupted, Interrupted]


async def test_a_beat_that_comes_as_the_work_ends_cancels_nothing(settings: Settings) -> None:
    under_way, go_on = asyncio.Event(), asyncio.Event()

    async def connect_slowly() -> asyncpg.Connection:
        under_way.set()
        await go_on.wait()
        return await connect(settings)

    document = await claimed()
    async with Leases(connect_slowly, lease_s=30, beat_s=0.04) as leases:

        async def work() -> str:
            async with leases.held(document):
                await under_way.wait()
                await Document.cancel(document.id)
            return "ended by itself"

        working = asyncio.create_task(work())
        await under_way.wait()
        await until(lambda row: row.status == "FAILED", document.id)
        go_on.set()
        assert await working == "ended by itself"
        async with asyncio.timeout(5):
            await leases.drain(60)  # Nothing is in hand: it does not wait.


async def test_a_document_that_waits_for_its_commit_keeps_its_lease(leases: Leases) -> None:
    document = await claimed()
    first = document.lease_expires_at
    async with leases.held(document):
        document.enter(Stage.STORING)
        async with transaction():  # It has a connection, and no lock of the row yet.
            now = await until(lambda row: row.lease_expires_at != first, document.id)
        assert now.stage == "storing"
        ingested = Ingested(space_id=1, media_type="text/plain", title=None, warnings=[], chunks=[])
        assert await document.complete(ingested)


async def test_without_the_database_for_a_whole_lease_the_work_stops(settings: Settings) -> None:
    async def refuse() -> asyncpg.Connection:
        raise ConnectionRefusedError

    document = await claimed()
    async with Leases(refuse, lease_s=0.2, beat_s=0.04) as leases:
        with pytest.raises(LeaseLost, match="out of reach"):
            async with leases.held(document):
                await asyncio.sleep(30)


async def test_an_unforeseen_error_does_not_end_the_beats(settings: Settings) -> None:
    errors = iter([RuntimeError("unforeseen")])

    async def connect_at_second_try() -> asyncpg.Connection:
        for error in errors:
            raise error
        return await connect(settings)

    document = await claimed()
    first = document.lease_expires_at
    async with Leases(connect_at_second_try, lease_s=30, beat_s=0.04) as leases, leases.held(document):
        await until(lambda row: row.lease_expires_at > first, document.id)
