"""What moves many documents at once, against a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from tortoise import connections

from app.core.config import Settings
from app.core.database import database
from app.errors import EmbedderUnavailable, NoText
from app.models import acceptance, backlog
from app.models.acceptance import NewDocument
from app.models.backlog import FailedFilter
from app.models.document import Document
from app.models.reach import EVERYTHING
from tests.support import emptied_database

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
async def opened(settings: Settings, migrated: None) -> AsyncIterator[None]:
    async with database(settings):
        await emptied_database()
        yield


async def accepted(number: int = 0, *, collection: str = "default") -> UUID:
    new = NewDocument(
        sha256=f"{number:064d}", size_bytes=1, media_type="text/plain", content=b"x", collection=collection
    )
    return (await acceptance.accept(new)).document_id


async def failed(number: int, error: Exception, *, collection: str = "default") -> UUID:
    document = await Document.claim(await accepted(number, collection=collection), owner="a", lease_s=30)
    assert document is not None
    assert await document.fail(error)
    return document.id


async def sent_ago(seconds: float) -> None:
    """As if the last messages had been sent so long ago."""
    await connections.get("default").execute_query(
        "UPDATE documents SET sent_at = now() - make_interval(secs => $1)", [seconds]
    )


async def late(limit: int = 10) -> list[UUID]:
    return await backlog.take_unsent(limit=limit, emptied_at=LONG_AGO, late_too=True)


async def unsent(emptied_at: datetime = LONG_AGO) -> list[UUID]:
    return await backlog.take_unsent(limit=10, emptied_at=emptied_at, late_too=False)


async def test_an_unsent_document_is_taken_once_it_is_overdue_and_at_growing_intervals() -> None:
    document_id = await accepted()
    for wait_s in (15, 15, 30, 60, 60):
        assert await late() == []
        await sent_ago(wait_s - 1)
        assert await late() == []
        await sent_ago(wait_s + 1)
        assert await unsent() == []
        assert await late() == [document_id]

    await backlog.put_back_unsent([document_id])
    assert await unsent() == [document_id]


async def test_after_the_queue_was_emptied_what_waits_is_sent_again_once_and_no_retry_comes_early() -> None:
    ids = sorted([await accepted(number) for number in range(7)])
    waiting = await Document.claim(ids[0], owner="a", lease_s=30)
    assert waiting is not None
    await waiting.release(EmbedderUnavailable("429"), backoff_s=60)
    held = await Document.claim(ids[1], owner="a", lease_s=30)
    assert await unsent() == []

    emptied_at = await backlog.now()
    new = await accepted(99)

    assert await unsent(emptied_at) == ids[2:]
    assert await unsent(emptied_at) == []
    assert held is not None
    assert (await Document.get(id=held.id)).status == "PROCESSING"
    assert (await Document.get(id=new)).sends == 0


async def test_the_oldest_of_what_is_late_comes_first() -> None:
    ids = [await accepted(number) for number in range(4)]
    await sent_ago(100)
    await backlog.put_back_unsent([ids[3]])

    assert await late(limit=1) == [ids[3]]
    assert await late(limit=2) == ids[:2]


async def test_without_messages_the_longest_waiting_document_is_claimed_first_and_each_once() -> None:
    ids = [await accepted(number) for number in range(6)]
    await backlog.put_back_unsent([ids[3]])
    later = await Document.claim(ids[5], owner="a", lease_s=30)
    assert later is not None
    await later.release(EmbedderUnavailable("429"), backoff_s=60)

    claims = await asyncio.gather(*(backlog.claim_due(owner="me", lease_s=30) for _ in range(5)))
    assert sorted(claim.id for claim in claims if claim) == sorted(ids[:5])
    assert await backlog.claim_due(owner="me", lease_s=30) is None


async def test_a_claim_without_messages_is_of_a_retry_that_is_due_and_else_of_whose_turn_it_is() -> None:
    ids = [await accepted(number) for number in range(4)]
    retried = await Document.claim(ids[2], owner="w", lease_s=30)
    assert retried is not None
    assert await retried.release(EmbedderUnavailable("busy"), backoff_s=0) == 0

    claims = [await backlog.claim_due(owner="me", lease_s=30) for _ in range(5)]

    assert [claim and claim.id for claim in claims] == [ids[2], ids[0], ids[1], ids[3], None]
    assert claims[1] is not None
    assert (claims[1].lease_owner, claims[1].attempt) == ("me", 1)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (FailedFilter(), {0, 1, 2, 3}),
        (FailedFilter(collection="b"), {2, 3}),
        (FailedFilter(codes=["no_text"]), {0, 2}),
        (FailedFilter(codes=["no_text", "embedder_unavailable"], collection="a"), {0, 1}),
        (FailedFilter(failed_after=datetime.now(UTC) + timedelta(days=1)), set()),
        (FailedFilter(failed_before=datetime.now(UTC) + timedelta(days=1)), {0, 1, 2, 3}),
    ],
)
async def test_failed_documents_are_queued_again_by_what_they_are(
    chosen: FailedFilter, expected: set[int]
) -> None:
    errors = [NoText(), EmbedderUnavailable("429")]
    ids = [await failed(n, errors[n % 2], collection="ab"[n // 2]) for n in range(4)]
    untouched = await accepted(9)

    assert await backlog.retry_failed(chosen, EVERYTHING, limit=10) == len(expected)

    queued = await Document.filter(status="PENDING").exclude(id=untouched)
    assert {document.id for document in queued} == {ids[n] for n in expected}
    assert all((document.failures, document.error) == (0, None) for document in queued)
    assert await unsent() == sorted(document.id for document in queued)


async def test_documents_are_queued_again_by_their_ids_and_at_most_so_many() -> None:
    ids = [await failed(number, NoText()) for number in range(4)]

    assert await backlog.retry_failed(FailedFilter(document_ids=ids[1:3]), EVERYTHING, limit=1) == 1
    assert await backlog.retry_failed(FailedFilter(document_ids=ids[1:3]), EVERYTHING, limit=9) == 1
    assert await backlog.retry_failed(FailedFilter(document_ids=ids[1:3]), EVERYTHING, limit=9) == 0
    assert await Document.filter(status="FAILED").count() == 2


async def test_a_mark_from_the_future_says_nothing_about_what_was_lost() -> None:
    document_id = await accepted()
    to_come = await backlog.now() + timedelta(hours=1)

    assert await unsent(to_come) == []
    await sent_ago(20)
    assert await backlog.take_unsent(limit=10, emptied_at=to_come, late_too=True) == [document_id]
    await backlog.put_back_unsent([document_id])
    assert await unsent(to_come) == [document_id]


async def test_what_died_together_comes_back_at_once_the_first_time_and_apart_from_then_on() -> None:
    ids = [await accepted(number) for number in range(8)]
    for deaths in (1, 2):
        for document_id in ids:
            assert await Document.claim(document_id, owner="dead", lease_s=0)
        await backlog.reap(limit=10, backoff_s=10)
        waiting = await Document.all()
        waits = {(row.next_attempt_at - row.updated_at).total_seconds() for row in waiting}
        assert all(row.failures == deaths for row in waiting)
        if deaths == 1:
            assert waits == {0}
        else:
            assert len(waits) == 8
            assert all(0 <= wait <= 20 for wait in waits)
            assert {row.stage for row in waiting} == {"retry_wait"}


async def test_company_is_of_the_next_ones_that_are_small_and_never_failed_and_each_once() -> None:
    ids = [await accepted(number) for number in range(24)]
    await connections.get("default").execute_query(
        "UPDATE documents SET content_key = 'large' WHERE id = $1", [ids[0]]
    )
    await connections.get("default").execute_query(
        "UPDATE documents SET failures = 1 WHERE id = $1", [ids[2]]
    )

    claimed = await backlog.claim_company(limit=5, owner="me", lease_s=30)
    again = await backlog.claim_company(limit=5, owner="you", lease_s=30)

    # The large one and the one that failed are among the next five, and stay for their own messages.
    assert sorted(document.id for document in claimed) == [ids[1], ids[3], ids[4]]
    assert sorted(document.id for document in again) == [ids[5], ids[6], ids[7]]
    assert {(document.status, document.lease_owner, document.attempt) for document in claimed} == {
        ("PROCESSING", "me", 1)
    }


async def test_company_leaves_most_of_the_last_ones_to_others() -> None:
    ids = [await accepted(number) for number in range(8)]
    assert {d.id for d in await backlog.claim_company(limit=31, owner="me", lease_s=30)} == set(ids[:2])
    assert {d.id for d in await backlog.claim_company(limit=31, owner="you", lease_s=30)} == {ids[2]}
    for document_id in ids[3:]:
        assert await backlog.claim_next(document_id, owner="me", lease_s=30)
    assert await backlog.claim_company(limit=31, owner="you", lease_s=30) == []


async def test_a_small_document_overtakes_large_ones_but_not_any_number_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backlog, "OVERTAKEN", 4)
    ids = [await accepted(number) for number in range(6)]
    await connections.get("default").execute_query(
        "UPDATE documents SET content_key = 'large' WHERE id = ANY($1)", [[ids[0], ids[1], ids[3], ids[4]]]
    )

    async def claimed() -> UUID | None:
        document = await backlog.claim_small(owner="me", lease_s=30)
        return document and document.id

    assert await claimed() == ids[2]
    assert await claimed() is None  # The other small one has too many before it.
    for document_id in ids[:2]:
        assert await backlog.claim_next(document_id, owner="you", lease_s=30)
    assert await claimed() == ids[5]
