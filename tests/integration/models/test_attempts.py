"""Every attempt at a document leaves a row that says who, when, how far and how it ended."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from tortoise import connections

from app.core.config import Settings
from app.core.database import database
from app.errors import EmbedderUnavailable, NoText
from app.models import acceptance, backlog
from app.models.acceptance import NewDocument
from app.models.attempt import Attempt
from app.models.chunk import NewChunk
from app.models.document import Document, Ingested, Stage
from app.models.sql import fetch
from tests.support import emptied_database, indexing

DONE = Ingested(space_id=1, media_type="text/plain", title=None, warnings=[], chunks=[])


@pytest.fixture(autouse=True)
async def opened(settings: Settings, migrated: None) -> AsyncIterator[None]:
    async with database(settings):
        await emptied_database()
        yield


def new(content: bytes = b"x") -> NewDocument:
    return NewDocument(
        sha256=content.hex().rjust(64, "0"),
        size_bytes=1,
        media_type="text/plain",
        content=content,
        external_id="it",
    )


async def claimed(document_id: UUID | None = None) -> Document:
    document = await Document.claim(
        document_id or (await acceptance.accept(new())).document_id, owner="host:1", lease_s=30
    )
    assert document is not None
    return document


async def reap(_: Document) -> object:
    await connections.get("default").execute_query("UPDATE documents SET lease_expires_at = now()")
    return await backlog.reap(limit=10, backoff_s=0)


ENDINGS: dict[str, tuple[Callable[[Document], Awaitable[object]], str | None]] = {
    "completed": (lambda document: document.complete(DONE), None),
    "failed": (lambda document: document.fail(NoText()), "no_text"),
    "failed for now": (
        lambda document: document.release(EmbedderUnavailable("429"), backoff_s=1),
        "embedder_unavailable",
    ),
    "interrupted": (lambda document: document.hand_back(), None),
    "worker_lost": (reap, "worker_lost"),
    "cancelled": (lambda document: Document.cancel(document.id), None),
    "superseded": (lambda _: acceptance.accept(new(b"y")), None),
}


@pytest.mark.parametrize("name", ENDINGS)
async def test_an_attempt_is_open_while_it_is_under_way_and_then_tells_how_it_ended(name: str) -> None:
    end, code = ENDINGS[name]
    document = await claimed()
    attempt = await Attempt.get(document_id=document.id)
    assert (attempt.attempt, attempt.version, attempt.worker) == (1, 1, "host:1")
    assert (attempt.ended_at, attempt.outcome) == (None, None)

    document.enter(Stage.PARSING)
    await end(document)

    (ended,) = await Attempt.all()
    assert ended.outcome == name.removesuffix(" for now")
    assert ended.ended_at is not None
    assert ended.ended_at >= ended.started_at
    assert ended.stage == "parsing"
    assert (ended.error and ended.error["code"]) == code


async def test_stages_are_timed_and_the_last_one_is_named() -> None:
    document = await claimed()
    document.enter(Stage.PARSING)
    document.enter(Stage.CHUNKING)

    await document.fail(NoText())

    ended = await Attempt.get(document_id=document.id)
    assert ended.stage == "chunking"
    assert ended.stage_seconds.keys() == {"parsing", "chunking"}
    assert all(0 <= seconds < 5 for seconds in ended.stage_seconds.values())


class SlowChunks(list[NewChunk]):
    """Chunks that take their time to be stored, as those of a long text do."""

    def __iter__(self) -> Iterator[NewChunk]:
        time.sleep(0.2)
        return super().__iter__()


async def test_what_is_completed_ended_when_all_was_stored_not_when_that_began() -> None:
    document = await claimed()
    document.enter(Stage.STORING)
    ingested = indexing("The upper gate opens at six.")

    assert await document.complete(replace(ingested, chunks=SlowChunks(ingested.chunks)))

    ended = await Attempt.get(document_id=document.id)
    assert ended.ended_at is not None
    assert ended.ended_at - ended.started_at >= timedelta(seconds=0.2)
    assert ended.stage_seconds["storing"] >= 0.2
    assert (await Document.get(id=document.id)).completed_at == ended.ended_at
    (event,) = await fetch(
        "SELECT at FROM document_events WHERE document_id = $1 AND status = 'COMPLETED'", document.id
    )
    assert event["at"] == ended.ended_at


async def test_a_worker_that_lost_the_document_changes_no_attempt() -> None:
    late = await claimed()
    await reap(late)
    again = await claimed(late.id)

    assert not await late.complete(DONE)
    assert not await late.fail(NoText())
    assert await late.release(NoText(), backoff_s=1) is None
    assert not await late.hand_back()

    first, second = await Attempt.all().order_by("attempt")
    assert (first.outcome, second.outcome) == ("worker_lost", None)
    assert (second.attempt, again.attempt) == (2, 2)


async def test_waiting_documents_have_no_open_attempt() -> None:
    document_id = (await acceptance.accept(new())).document_id
    await Document.cancel(document_id)
    await Document.retry(document_id)
    await acceptance.accept(new(b"y"))

    assert not await Attempt.exists()
