"""Group commit, against a real PostgreSQL: who shares one, and who spoils nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import pytest
from tortoise import connections

from app.core.config import Settings
from app.core.database import connect, database
from app.errors import CollectionDeleting
from app.models.acceptance import Accepted
from app.models.collection import Collection
from app.models.document import Document
from app.models.reach import EVERYTHING
from app.services.intake_service import IntakeService, Offer
from app.storage.files import FileStore
from tests.support import emptied_database


@pytest.fixture(autouse=True)
async def opened(settings: Settings, migrated: None) -> AsyncIterator[None]:
    async with database(settings, lock_timeout_s=5):
        await emptied_database()
        yield


@pytest.fixture
def intake(tmp_path: Path) -> IntakeService:
    return IntakeService(store=FileStore(f"file://{tmp_path}"), inline_content_bytes=1024)


def offer(text: str, *, collection: str = "default", external_id: str | None = None) -> Offer:
    return Offer(content=BytesIO(text.encode()), collection=collection, external_id=external_id)


async def all_of(intake: IntakeService, *offers: Offer) -> list[Accepted | BaseException]:
    return await asyncio.gather(*(intake.accept(each, EVERYTHING) for each in offers), return_exceptions=True)


async def transactions() -> int:
    """How many different ones have made the documents that there are."""
    _, rows = await connections.get("default").execute_query(
        "SELECT count(DISTINCT xmin::text) AS count FROM documents"
    )
    return int(rows[0]["count"])


async def test_what_comes_together_shares_a_commit(intake: IntakeService) -> None:
    accepted = await all_of(intake, *(offer(f"gate {number}") for number in range(30)))

    assert all(isinstance(each, Accepted) and each.created and each.queued for each in accepted)
    assert await Document.all().count() == 30
    assert await transactions() == 1
    await all_of(intake, offer("and one more"))
    assert await transactions() == 2


async def test_the_same_document_many_times_at_once_is_one(intake: IntakeService) -> None:
    accepted = await all_of(intake, *(offer("gate") for _ in range(10)), offer("lock"))

    assert len({each.document_id for each in accepted if isinstance(each, Accepted)}) == 2
    assert [isinstance(each, Accepted) and each.created for each in accepted].count(True) == 2


async def test_one_that_cannot_be_taken_spoils_nothing(intake: IntakeService) -> None:
    await intake.accept(offer("old", external_id="known"), EVERYTHING)
    await Collection.filter(name="going").delete()
    await Collection.create(name="going")
    await connections.get("default").execute_query(
        "UPDATE collections SET deleting_at = now() WHERE name = 'going'"
    )

    accepted = await all_of(
        intake,
        offer("a"),
        offer("b", collection="going"),
        offer("new", external_id="known"),
        offer("c"),
    )

    assert isinstance(accepted[1], CollectionDeleting)
    assert [isinstance(each, Accepted) and each.created for each in accepted] == [True, False, True, True]


async def test_one_that_is_locked_for_long_keeps_no_other_waiting(
    intake: IntakeService, settings: Settings
) -> None:
    await intake.accept(offer("old", external_id="being stored"), EVERYTHING)
    worker = await connect(settings)
    storing = worker.transaction()
    await storing.start()
    await worker.execute("UPDATE documents SET updated_at = now()")
    try:
        locked = asyncio.create_task(intake.accept(offer("new", external_id="being stored"), EVERYTHING))
        others = [
            asyncio.create_task(intake.accept(offer(f"other {number}"), EVERYTHING)) for number in range(5)
        ]
        await asyncio.wait(others, timeout=3)
        assert all(other.done() for other in others)
        assert not locked.done()
    finally:
        await storing.rollback()
        await worker.close()
    assert (await locked).created
