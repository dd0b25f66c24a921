"""Collections take turns, and a message is a permit for one document, whichever that is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from uuid import UUID

import pytest

from app.core.config import Settings
from app.core.database import database
from app.errors import CorruptFile
from app.models import acceptance, backlog
from app.models.acceptance import NewDocument
from app.models.backlog import FailedFilter
from app.models.document import Document
from app.models.reach import EVERYTHING
from app.models.turns import LEEWAY
from tests.support import emptied_database

IN_A_CENTURY = datetime(2126, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
async def opened(settings: Settings, migrated: None) -> AsyncIterator[None]:
    async with database(settings):
        await emptied_database()
        yield


async def posted(collection: str, count: int) -> list[UUID]:
    """The ids of as many documents that are queued now."""
    many = [
        NewDocument(
            sha256=f"{n:064d}", size_bytes=1, media_type="text/plain", content=b"x", collection=collection
        )
        for n in range(count)
    ]
    accepted = [await acceptance.accept(many[0])] if count == 1 else await acceptance.accept_many(many)
    return [each.document_id for each in accepted if each is not None]


async def worked_on(messages: Iterable[UUID]) -> list[str]:
    """The collections of the documents that these messages are good for."""
    claimed = [await backlog.claim_next(each, owner="w", lease_s=60) for each in messages]
    return [document.collection for document in claimed if document is not None]


async def turns_of(collection: str) -> list[int]:
    return [document.turn for document in await Document.filter(collection=collection).order_by("id")]


async def test_a_document_does_not_wait_for_another_collections_import() -> None:
    messages = await posted("import", 100)
    done = await worked_on(messages[:30])
    messages = [*messages[30:], *await posted("single", 1)]

    done = await worked_on(messages)

    assert done.index("single") <= LEEWAY + 1
    assert len(done) == 71  # As many as there are messages, and none twice.
    assert await Document.filter(status="PENDING").count() == 0


async def test_imports_advance_side_by_side() -> None:
    messages = [*await posted("first", 60), *await posted("second", 60)]

    done = await worked_on(messages[:60])

    assert abs(done.count("first") - done.count("second")) <= LEEWAY + 1


async def test_a_collection_alone_is_worked_on_in_the_order_of_its_messages() -> None:
    messages = await posted("alone", 3)

    claimed = [await backlog.claim_next(each, owner="w", lease_s=60) for each in reversed(messages)]

    assert [document and document.id for document in claimed] == messages[::-1]


async def test_a_message_whose_document_is_gone_is_good_for_another_but_for_none_that_is_not_due() -> None:
    gone, early, other = await posted("alone", 3)
    await Document.remove(gone, EVERYTHING)
    await Document.filter(id=early).update(next_attempt_at=IN_A_CENTURY, stage="retry_wait")

    claimed = await backlog.claim_next(gone, owner="w", lease_s=60)

    assert claimed is not None
    assert claimed.id == other
    assert await backlog.claim_next(gone, owner="w", lease_s=60) is None
    assert await backlog.claim_next(early, owner="w", lease_s=60) is None


async def test_what_is_retried_queues_up_again() -> None:
    failed = await posted("failed", 3)
    for document_id in failed:
        document = await Document.claim(document_id, owner="w", lease_s=60)
        assert document is not None
        await document.fail(CorruptFile("It ends in the middle."))
    waiting = await posted("waiting", 40)
    await worked_on(waiting[:20])  # By now it is the turn of those after.

    await Document.retry(failed[0])
    assert await backlog.retry_failed(FailedFilter(), EVERYTHING, limit=10) == 2

    assert await turns_of("failed") == [20, 21, 22]


async def test_a_collection_that_comes_back_has_no_credit() -> None:
    await worked_on(await posted("seldom", 1))
    messages = await posted("often", 50)
    await worked_on(messages[:30])

    await acceptance.accept(
        NewDocument(sha256="f" * 64, size_bytes=1, media_type="text/plain", content=b"x", collection="seldom")
    )

    assert (await turns_of("seldom"))[-1] == 30
