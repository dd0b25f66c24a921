"""The fence of uploads: a content is a document's or the sweep's, never both, and never nobody's."""

from __future__ import annotations

import asyncio
import io
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO
from unittest.mock import patch
from uuid import uuid4

import asyncpg
import pytest

from app.core.config import Settings
from app.core.database import connect, database
from app.errors import IdempotencyKeyReused, StorageUnavailable, UploadForgotten
from app.models import acceptance, uploads
from app.models.acceptance import Accepted, NewDocument
from app.models.document import Document
from app.models.reach import EVERYTHING
from app.models.sql import fetch
from app.services import orphans
from app.services.intake_service import IntakeService, Offer
from app.services.orphans import adopt, remove_orphans
from app.storage.content_store import FOLDERS, StoredContent
from app.storage.objects import ObjectStore
from tests.object_server import ObjectServer, objects
from tests.support import emptied_database, saved

TEXT = "The upper gate opens at six in the morning. " * 10

#: The server's clock may be a little ahead of ours; all that is there is old.
EVERYTHING_S = -60


@pytest.fixture(autouse=True)
async def opened(settings: Settings, migrated: None) -> AsyncIterator[None]:
    async with database(settings):
        await emptied_database()
        await fetch("DELETE FROM uploads RETURNING key")
        yield


@pytest.fixture
def bucket(object_server: ObjectServer) -> Path:
    return object_server.bucket(f"bucket-{uuid4()}")


@pytest.fixture
async def store(object_server: ObjectServer, bucket: Path) -> ObjectStore:
    store = object_server.store(f"s3://{bucket.name}")
    await adopt(store)
    return store


@pytest.fixture
def intake(store: ObjectStore) -> IntakeService:
    return IntakeService(store=store, inline_content_bytes=10)


@pytest.fixture
def every_folder() -> Iterator[None]:
    """Each sweep lists all of the store."""
    with patch.object(random, "sample", lambda folders, _: folders):
        yield


def offer(text: str = TEXT, **fields: str) -> Offer:
    return Offer(content=io.BytesIO(text.encode()), **fields)


async def noted() -> set[str]:
    return {row["key"] for row in await fetch("SELECT key FROM uploads")}


async def age_uploads(hours: int = 25) -> None:
    await fetch(
        "UPDATE uploads SET started_at = started_at - make_interval(hours => $1) RETURNING key", hours
    )


async def key_of(accepted: Accepted) -> str:
    document = await Document.get(id=accepted.document_id)
    assert document.content_key is not None
    return document.content_key


async def test_the_note_of_an_upload_ends_with_the_document_that_names_it(
    store: ObjectStore, intake: IntakeService, bucket: Path
) -> None:
    first = await intake.accept(offer(external_id="gates"), EVERYTHING)
    assert objects(bucket) == {await key_of(first): TEXT.encode()}
    assert await noted() == set()

    second = await intake.accept(offer(TEXT * 2, external_id="gates"), EVERYTHING)
    assert second.version == 2
    assert objects(bucket) == {await key_of(second): (TEXT * 2).encode()}
    assert await noted() == set()


@pytest.mark.parametrize("key", [None, "once"], ids=["same document", "same request"])
async def test_what_is_known_already_keeps_its_first_content(
    intake: IntakeService, store: ObjectStore, bucket: Path, key: str | None
) -> None:
    fields = {"idempotency_key": key} if key else {}
    first = await intake.accept(offer(**fields), EVERYTHING)
    again = await intake.accept(offer(**fields), EVERYTHING)

    assert again.document_id == first.document_id
    assert objects(bucket) == {await key_of(first): TEXT.encode()}
    if key:
        with pytest.raises(IdempotencyKeyReused):
            await intake.accept(offer(TEXT * 2, **fields), EVERYTHING)
    # The notes of the others are forgotten like those of processes that were killed.
    await age_uploads()
    await remove_orphans(store)
    assert await noted() == set()
    assert objects(bucket) == {await key_of(first): TEXT.encode()}


async def test_an_upload_that_was_given_up_can_bring_no_document_and_leaves_nothing(
    intake: IntakeService, store: ObjectStore, bucket: Path
) -> None:
    """Its process is stopped for a day between the content and the row, and goes on after the sweep."""
    accept = acceptance._accept

    async def held_up(new: NewDocument) -> Accepted:
        await age_uploads(23)
        assert await remove_orphans(store) == 0  # Not yet.
        await age_uploads(2)
        assert await remove_orphans(store) == 1
        return await accept(new)

    with patch.object(acceptance, "_accept", held_up), pytest.raises(UploadForgotten):
        await intake.accept(offer(), EVERYTHING)

    assert UploadForgotten.retryable
    assert await Document.all().count() == 0
    assert objects(bucket) == {}
    assert (await intake.accept(offer(), EVERYTHING)).created


async def test_an_object_that_comes_after_its_upload_was_given_up_is_removed_by_who_brought_it(
    intake: IntakeService, store: ObjectStore, bucket: Path
) -> None:
    """Its process is stopped for a day while it sends the content."""

    held = store.held

    @asynccontextmanager
    async def held_up(key: str, source: BinaryIO) -> AsyncIterator[StoredContent]:
        await age_uploads()
        assert await remove_orphans(store) == 1
        async with held(key, source) as stored:
            assert set(objects(bucket)) == {key}
            yield stored

    with patch.object(store, "held", held_up), pytest.raises(UploadForgotten):
        await intake.accept(offer(), EVERYTHING)
    assert (await Document.all().count(), objects(bucket)) == (0, {})


async def test_the_sweep_leaves_an_upload_whose_document_is_being_written(
    intake: IntakeService, store: ObjectStore, settings: Settings, every_folder: None
) -> None:
    """However old: the transaction has ended the note, and nobody knows yet whether it commits."""
    key = (await saved(store, TEXT.encode())).key
    await uploads.begin(key)
    await age_uploads()
    other: asyncpg.Connection = await connect(settings)
    try:
        async with other.transaction():
            await other.execute("DELETE FROM uploads WHERE key = $1", key)
            assert await remove_orphans(store, older_than_s=EVERYTHING_S) == 0
        assert await remove_orphans(store, older_than_s=EVERYTHING_S) == 1  # It has named nothing.
    finally:
        await other.close()


async def test_of_two_at_once_the_document_waits_for_the_sweep(
    intake: IntakeService, settings: Settings
) -> None:
    await uploads.begin("00/" + "0" * 32)
    sweep: asyncpg.Connection = await connect(settings)
    try:
        async with sweep.transaction():
            await sweep.execute("DELETE FROM uploads")
            ending = asyncio.create_task(uploads.end("00/" + "0" * 32))
            while not await sweep.fetchval(
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"
            ):
                await asyncio.sleep(0.01)  # Between two looks.
        with pytest.raises(UploadForgotten):
            await ending
    finally:
        await sweep.close()


async def test_objects_that_nobody_names_go_and_all_others_stay(
    intake: IntakeService, store: ObjectStore, bucket: Path, every_folder: None
) -> None:
    kept = await key_of(await intake.accept(offer(), EVERYTHING))
    deleted = await intake.accept(offer(TEXT * 2), EVERYTHING)
    await Document.remove(deleted.document_id, EVERYTHING)  # And then its process died.
    await saved(store, b"of an upload that was given up before it was there")
    under_way = (await saved(store, b"on its way")).key
    await uploads.begin(under_way)
    (bucket / "notes.txt").write_text("not ours")

    assert await remove_orphans(store) == 0  # None of them is a day old.
    with patch.object(uploads, "forget", return_value=[]):
        assert await remove_orphans(store, older_than_s=EVERYTHING_S) == 2
    assert set(objects(bucket)) == {kept, under_way, "notes.txt"}


def test_each_sweep_lists_some_folders_of_all() -> None:
    seen = {folder for _ in range(2000) for folder in random.sample(FOLDERS, orphans.FOLDERS_AT_ONCE)}
    assert seen == set(FOLDERS)


async def test_nothing_is_removed_from_the_bucket_of_another_database(
    object_server: ObjectServer, bucket: Path, every_folder: None
) -> None:
    theirs = object_server.store(f"s3://{bucket.name}/theirs")
    await theirs.mark("0199c0de-7a11-7c4e-8a55-0242ac120002")
    foreign = object_server.store(f"s3://{bucket.name}/foreign")
    for each in (theirs, foreign):
        await saved(each, b"somebody's")
        await adopt(each)

        assert await remove_orphans(each, older_than_s=EVERYTHING_S) == 0
    assert len(objects(bucket)) == 2
    assert await foreign.owner() is None


async def test_a_store_that_is_away_refuses_for_now_and_what_it_could_not_remove_goes_later(
    intake: IntakeService, store: ObjectStore, object_server: ObjectServer, bucket: Path, every_folder: None
) -> None:
    accepted = await intake.accept(offer(), EVERYTHING)
    impatient = object_server.store(store.url, timeout_s=0.3)
    with object_server.silent():
        with pytest.raises(StorageUnavailable):
            await IntakeService(store=impatient, inline_content_bytes=10).accept(offer(TEXT * 2), EVERYTHING)
        key = await key_of(accepted)
        await Document.remove(accepted.document_id, EVERYTHING)
        await impatient.delete(key)
    assert await Document.all().count() == 0

    # What it was asked meanwhile, it may do now, the upload too: the note is there for that.
    async with asyncio.timeout(20):
        while objects(bucket) or await noted():
            await remove_orphans(store, older_than_s=EVERYTHING_S)
