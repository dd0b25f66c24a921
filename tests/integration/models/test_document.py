"""The moves of a document, against a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import UUID, uuid4

import numpy as np
import pytest
from tortoise import connections, fields

from app.core.config import Settings
from app.core.database import connect, database
from app.errors import EmbedderUnavailable, NoText, TransientError
from app.models import acceptance, backlog
from app.models.acceptance import NewDocument
from app.models.attempt import Attempt
from app.models.batch import Batch, BatchItem, ItemResult
from app.models.chunk import CHUNKS_PER_COPY, Chunk, NewChunk
from app.models.collection import SETTINGS_LOCK
from app.models.document import MAX_FAILURES, Document, DocumentStatus, Ingested, Stage
from app.models.document_status import (
    CANCEL,
    CLAIM,
    COMPLETE,
    FAIL,
    RELEASE,
    RENEW,
    RETRY,
    Move,
)
from app.models.reach import EVERYTHING
from app.models.sql import fetch
from tests.support import emptied_database

PENDING, PROCESSING, COMPLETED, FAILED = DocumentStatus
DIMENSIONS = 64


@pytest.fixture(autouse=True)
async def opened(settings: Settings, migrated: None) -> AsyncIterator[None]:
    async with database(settings):
        await emptied_database()
        yield


def new(content: bytes = b"gates", **fields: str) -> NewDocument:
    return NewDocument(
        sha256=content.hex().rjust(64, "0"),
        size_bytes=len(content),
        media_type="text/plain",
        content=content,
        **fields,
    )


def chunks(count: int = 1) -> list[NewChunk]:
    vector = np.zeros(DIMENSIONS, np.float16)
    vector[0] = 1
    return [NewChunk(f"gate {n}", n, n + 6, None, None, ("Gates",), 2, vector) for n in range(count)]


def ingested(count: int = 1) -> Ingested:
    return Ingested(space_id=1, media_type="text/plain", title="T", warnings=["w"], chunks=chunks(count))


async def accepted(**fields: str) -> UUID:
    return (await acceptance.accept(new(**fields))).document_id


async def claimed(document_id: UUID | None = None, owner: str = "a") -> Document:
    document = await Document.claim(document_id or await accepted(), owner=owner, lease_s=30)
    assert document is not None
    return document


async def document_in(status: DocumentStatus) -> Document:
    """A fresh document that came to its status by the moves."""
    if status == PENDING:
        return await Document.get(id=await accepted())
    document = await claimed()
    if status == COMPLETED:
        assert await document.complete(ingested())
    if status == FAILED:
        assert await document.fail(NoText())
    return await Document.get(id=document.id)


async def expire_leases() -> None:
    await connections.get("default").execute_query(
        "UPDATE documents SET lease_expires_at = now() - interval '1 s' WHERE status = 'PROCESSING'"
    )


MOVES: dict[str, tuple[Move, Callable[[Document], Awaitable[object]]]] = {
    "claim": (CLAIM, lambda document: Document.claim(document.id, owner="b", lease_s=30)),
    "complete": (COMPLETE, lambda document: document.complete(ingested())),
    "release": (RELEASE, lambda document: document.release(TransientError("t"), backoff_s=1)),
    "hand_back": (RELEASE, lambda document: document.hand_back()),
    "fail": (FAIL, lambda document: document.fail(NoText())),
    "retry": (RETRY, lambda document: Document.retry(document.id)),
    "cancel": (CANCEL, lambda document: Document.cancel(document.id)),
    "renew": (RENEW, lambda document: document.renew(new(b"other"))),
}


@pytest.mark.parametrize("status", list(DocumentStatus))
@pytest.mark.parametrize("name", list(MOVES))
async def test_a_move_happens_from_its_own_statuses_and_from_no_other(
    name: str, status: DocumentStatus
) -> None:
    move, make = MOVES[name]
    document = await document_in(status)

    happened = bool(await make(document))

    after = await Document.get(id=document.id)
    assert happened == (status in move.sources)
    assert after.status == (move.target if happened else status)
    if not happened:
        assert after.updated_at == document.updated_at


@pytest.mark.parametrize("status", list(DocumentStatus))
async def test_reaping_takes_only_what_is_processed_under_a_dead_lease(status: DocumentStatus) -> None:
    document = await document_in(status)
    assert await backlog.reap(limit=10, backoff_s=0) == []
    await expire_leases()

    assert await backlog.reap(limit=10, backoff_s=0) == ([document.id] if status == PROCESSING else [])


@pytest.mark.parametrize("name", ["complete", "release", "hand_back", "fail"])
async def test_whoever_lost_the_lease_writes_nothing(name: str) -> None:
    zombie = await claimed()
    await expire_leases()
    await backlog.reap(limit=10, backoff_s=0)
    owner = await claimed(zombie.id, owner="b")
    assert owner.attempt == zombie.attempt + 1

    assert not await MOVES[name][1](zombie)

    now = await Document.get(id=zombie.id)
    assert (now.status, now.lease_owner) == ("PROCESSING", "b")
    assert await Chunk.all().count() == 0
    assert await owner.complete(ingested(2))
    assert await Chunk.all().count() == 2


def test_the_class_shows_its_fields() -> None:
    assert hasattr(Document, "status")
    assert hasattr(Document, "processing_errors")
    assert isinstance(Document.status, fields.CharField)


async def test_two_workers_race_for_a_document_and_one_gets_it() -> None:
    document_id = await accepted()

    got = await asyncio.gather(*(Document.claim(document_id, owner=str(n), lease_s=30) for n in range(8)))

    assert len([document for document in got if document is not None]) == 1


async def test_a_hundred_equal_documents_at_once_are_one() -> None:
    results = await asyncio.gather(*(acceptance.accept(new()) for _ in range(100)))

    assert len({result.document_id for result in results}) == 1
    assert [result.created for result in results].count(True) == 1
    assert await Document.all().count() == 1


async def test_accepting_again_changes_nothing_and_retries_what_failed() -> None:
    document = await document_in(COMPLETED)
    again = await acceptance.accept(new())
    assert (again.document_id, again.status, again.created, again.queued) == (
        document.id,
        COMPLETED,
        False,
        False,
    )

    await connections.get("default").execute_query("DELETE FROM documents")
    document = await document_in(FAILED)
    again = await acceptance.accept(new())
    assert (again.document_id, again.status, again.created, again.queued) == (
        document.id,
        PENDING,
        False,
        True,
    )


async def test_the_chunks_of_a_long_document_are_counted_while_they_are_stored() -> None:
    count = 3 * CHUNKS_PER_COPY
    document = await claimed()
    document.enter(Stage.STORING, unit="chunks", total=count)
    storing = asyncio.create_task(document.complete(ingested(count)))
    seen = []
    while not storing.done():
        seen.append(document.progress_done)
        await asyncio.sleep(0.001)  # Between two looks.

    assert await storing
    assert document.progress_done == count
    assert {0, CHUNKS_PER_COPY, 2 * CHUNKS_PER_COPY} <= set(seen)


async def test_a_new_version_keeps_the_old_chunks_until_its_own_commit_and_fences_the_old_work() -> None:
    document = await claimed(await accepted(external_id="gates"))
    assert await document.complete(ingested(2))
    at_work = None
    for content in (b"second", b"third"):
        renewed = await acceptance.accept(new(content, external_id="gates"))
        assert (renewed.document_id, renewed.created, renewed.queued) == (document.id, True, True)
        if at_work is not None:
            assert not await at_work.complete(ingested(5))
        at_work = await claimed(document.id)
        assert await Chunk.filter(version=1).count() == await Chunk.all().count() == 2

    assert at_work is not None
    assert at_work.version == 3
    assert await at_work.complete(ingested(1))
    assert [chunk.version for chunk in await Chunk.all()] == [3]


async def test_a_failed_update_leaves_the_old_version_searchable() -> None:
    document = await claimed(await accepted(external_id="gates"))
    assert await document.complete(ingested(2))
    await acceptance.accept(new(b"broken", external_id="gates"))

    assert await (await claimed(document.id)).fail(NoText())

    failed = await Document.get(id=document.id)
    assert (failed.status, failed.version, failed.indexed_version) == ("FAILED", 2, 1)
    assert await Chunk.filter(version=1).count() == 2


async def test_a_release_backs_off_and_the_sixth_failure_is_final() -> None:
    document_id = await accepted()
    waits: list[float] = []
    for _ in range(MAX_FAILURES - 1):
        document = await claimed(document_id)
        due_in_s = await document.release(TransientError("busy"), backoff_s=8)
        waiting = await Document.get(id=document_id)
        assert waiting.stage == "retry_wait"
        waits.append((waiting.next_attempt_at - waiting.updated_at).total_seconds())
        assert due_in_s == pytest.approx(waits[-1], abs=0.001)
        assert waiting.sent_at == waiting.next_attempt_at
        assert await Document.claim(document_id, owner="b", lease_s=30) is None
        await Document.filter(id=document_id).update(next_attempt_at=waiting.created_at)

    assert all(4 * 2**n <= wait <= 8 * 2**n for n, wait in enumerate(waits)), waits
    assert await (await claimed(document_id)).release(TransientError("busy"), backoff_s=8) is None
    failed = await Document.get(id=document_id)
    assert (failed.status, failed.failures) == ("FAILED", MAX_FAILURES)
    assert failed.error is not None
    assert failed.error["retryable"] is True
    assert failed.processing_errors is not None
    assert len(failed.processing_errors.splitlines()) == MAX_FAILURES


@pytest.mark.parametrize(("asked_s", "given_s"), [(1000, 1000), (10**9, 3600), (-5, 1), (None, 1)])
async def test_a_service_that_asks_for_time_gets_it_within_reason(
    asked_s: float | None, given_s: float
) -> None:
    document = await claimed()

    await document.release(EmbedderUnavailable("429", retry_after_s=asked_s), backoff_s=1)

    waiting = await Document.get(id=document.id)
    assert (waiting.next_attempt_at - waiting.updated_at).total_seconds() == pytest.approx(given_s, abs=1)


async def test_handing_back_costs_no_failure_and_is_due_at_once() -> None:
    document = await claimed()

    assert await document.hand_back()

    again = await claimed(document.id)
    assert (again.failures, again.attempt) == (0, 2)


async def test_a_file_that_kills_its_worker_ends_failed() -> None:
    document_id = await accepted()
    for _ in range(MAX_FAILURES):
        await claimed(document_id)
        await expire_leases()
        assert await backlog.reap(limit=10, backoff_s=0) == [document_id]

    failed = await Document.get(id=document_id)
    assert failed.error is not None
    assert (failed.status, failed.error["code"], failed.error["stage"]) == (
        "FAILED",
        "worker_lost",
        "parsing",
    )
    assert failed.processing_errors is not None
    assert failed.processing_errors.splitlines()[0].startswith("attempt 1, parsing: worker_lost: ")


async def test_a_beat_renews_what_is_held_writes_progress_and_names_what_is_lost(settings: Settings) -> None:
    kept, lost = await claimed(), await claimed(await accepted(external_id="x"))
    await Document.cancel(lost.id)
    kept.stage, kept.progress_unit, kept.progress_done, kept.progress_total = "embedding", "chunks", 3, 9
    connection = await connect(settings)
    try:
        assert await Document.beat(connection, [kept, lost], lease_s=300) == {(kept.id, kept.attempt)}
    finally:
        await connection.close()

    now = await Document.get(id=kept.id)
    assert (now.stage, now.progress_done, now.progress_total) == ("embedding", 3, 9)
    assert now.lease_expires_at is not None
    assert (now.lease_expires_at - now.updated_at).total_seconds() == pytest.approx(300, abs=1)


async def test_a_beat_does_not_wait_for_a_row_that_somebody_has_locked(settings: Settings) -> None:
    free, locked = await claimed(), await claimed(await accepted(external_id="x"))
    beats, other = await connect(settings), await connect(settings)
    try:
        async with other.transaction():
            await other.execute("SELECT FROM documents WHERE id = $1 FOR UPDATE", locked.id)
            ours = await Document.beat(beats, [free, locked], lease_s=300)
    finally:
        await beats.close()
        await other.close()

    assert ours == {(free.id, free.attempt), (locked.id, locked.attempt)}
    renewed, passed_over = await Document.get(id=free.id), await Document.get(id=locked.id)
    assert renewed.lease_expires_at != free.lease_expires_at
    assert passed_over.lease_expires_at == locked.lease_expires_at


async def test_a_batch_can_name_a_document_while_it_is_being_stored(settings: Settings) -> None:
    document = await claimed()
    (collection,) = await fetch("SELECT id FROM collections WHERE name = 'default'")
    other = await connect(settings)
    try:
        async with asyncio.timeout(20), other.transaction():
            await other.execute("SELECT pg_advisory_xact_lock($1, $2)", SETTINGS_LOCK, collection["id"])
            storing = asyncio.create_task(document.complete(ingested()))
            while not await other.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                await asyncio.sleep(0.01)
            # It holds the row by now, and waits for the collection.
            noted = ItemResult(index=0, document_id=document.id)
            await Batch.note(batch_id := uuid4(), [noted], EVERYTHING)
        assert await storing
    finally:
        await other.close()

    assert (await BatchItem.get(batch_id=batch_id)).document_id == document.id


@pytest.mark.parametrize("how", ["cancel", "update"])
async def test_who_waits_for_a_claim_to_commit_ends_its_attempt_too(settings: Settings, how: str) -> None:
    document_id = await accepted(external_id="it")
    other = await connect(settings)
    claim = other.transaction()
    await claim.start()
    await other.execute(
        "UPDATE documents SET status = 'PROCESSING', stage = 'parsing', attempt = 1, lease_owner = 'w',"
        " lease_expires_at = now() + interval '30 s' WHERE id = $1",
        document_id,
    )
    await other.execute(
        "INSERT INTO attempts (document_id, attempt, version, worker, started_at)"
        " VALUES ($1, 1, 1, 'w', now())",
        document_id,
    )
    steering = asyncio.create_task(
        Document.cancel(document_id)
        if how == "cancel"
        else acceptance.accept(new(b"other", external_id="it"))
    )
    async with asyncio.timeout(20):
        while not await is_waiting_for_a_lock():
            assert not steering.done()
        await claim.commit()
        await steering
    await other.close()

    attempt = await Attempt.get(document_id=document_id)
    assert attempt.outcome == ("cancelled" if how == "cancel" else "superseded")


async def is_waiting_for_a_lock() -> bool:
    rows = await connections.get("default").execute_query_dict(
        "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted) AS found"
    )
    return bool(rows[0]["found"])


async def test_removing_a_document_takes_its_chunks_and_content_and_stops_its_worker() -> None:
    document = await claimed()
    assert await Document.remove(document.id, EVERYTHING) is not None
    assert await Document.remove(document.id, EVERYTHING) is None

    assert not await document.complete(ingested())

    for table in ("documents", "document_contents", "chunks"):
        rows = await connections.get("default").execute_query_dict(f"SELECT count(*) FROM {table}")
        assert rows[0]["count"] == 0
