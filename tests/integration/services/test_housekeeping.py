"""What nobody needs any more goes by itself, and nothing else does."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from tortoise import connections

from app.core.config import Settings
from app.core.database import database
from app.models import acceptance
from app.models.acceptance import NewDocument
from app.models.batch import Batch, BatchItem, ItemResult
from app.models.document import Document
from app.models.embedded_text import EmbeddedText
from app.models.idempotency_key import IdempotencyKey
from app.models.reach import EVERYTHING
from app.models.sql import fetch
from app.services.housekeeping import clean
from app.services.orphans import adopt
from app.storage.content_store import MARK
from app.storage.files import FileStore
from tests.support import emptied_database, saved


@pytest.fixture(autouse=True)
async def opened(settings: Settings, migrated: None) -> AsyncIterator[None]:
    async with database(settings):
        await emptied_database()
        await IdempotencyKey.all().delete()
        await Batch.all().delete()
        yield


def files_below(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file() and file.name != MARK]


async def test_what_is_old_goes_and_what_is_young_stays(tmp_path: Path) -> None:
    store = FileStore(f"file://{tmp_path}")
    await adopt(store)
    old, young = await saved(store, b"old"), await saved(store, b"young")
    os.utime(store.root / old.key, (time.time() - 7200,) * 2)
    new = NewDocument(sha256="0" * 64, size_bytes=1, media_type="text/plain", content=b"x")
    document_id = (await acceptance.accept(new)).document_id
    await Document.cancel(document_id)
    for name in ("old", "young"):
        await IdempotencyKey.begin(name, "0" * 64)
        await EmbeddedText.keep(document_id, {name.encode(): np.full(64, 0.125, np.float16)})
    age = "UPDATE {} SET created_at = now() - interval '25 h' WHERE key = '{}'"
    for table, key in (("idempotency_keys", "old"), ("embedded_texts", "\\x6f6c64")):
        await connections.get("default").execute_query(age.format(table, key))

    await clean(store)
    await clean(store)

    assert [key.key for key in await IdempotencyKey.all()] == ["young"]
    assert [bytes(kept.key) for kept in await EmbeddedText.all()] == [b"young"]
    assert files_below(tmp_path) == [store.root / young.key]


async def test_a_batch_goes_a_week_after_all_of_it_is_final(tmp_path: Path) -> None:
    store = FileStore(f"file://{tmp_path}")
    batches = {}
    for number, name in enumerate(("old", "young", "under way", "just final", "all refused")):
        new = NewDocument(sha256=f"{number:064}", size_bytes=1, media_type="text/plain", content=b"x")
        document_id = (await acceptance.accept(new)).document_id
        result = ItemResult(index=0, document_id=document_id, created=True)
        if name == "all refused":
            result = ItemResult(index=0, error={"code": "empty_file"})
        batches[name] = uuid4()
        await Batch.note(batches[name], [result], EVERYTHING)
        await Batch.close(batches[name], None)
        if name != "under way":
            await Document.cancel(document_id)
        age = "now() - interval '8 days'"
        if name != "just final":
            await fetch(f"UPDATE documents SET updated_at = {age} WHERE id = $1 RETURNING id", document_id)
        if name != "young":
            await fetch(f"UPDATE batches SET closed_at = {age} WHERE id = $1 RETURNING id", batches[name])

    await clean(store)

    kept = {batch.id for batch in await Batch.all()}
    assert {name for name, id_ in batches.items() if id_ in kept} == {"young", "under way", "just final"}
    assert await BatchItem.all().count() == 3
    assert await Document.all().count() == 5


async def test_a_batch_whose_reader_died_is_closed(tmp_path: Path) -> None:
    for age in ("2 hours", "1 minute"):
        batch_id = uuid4()
        await Batch.note(batch_id, [ItemResult(index=0, error={"code": "empty_file"})], EVERYTHING)
        await fetch(
            f"UPDATE batches SET touched_at = now() - interval '{age}' WHERE id = $1 RETURNING id", batch_id
        )

    await clean(FileStore(f"file://{tmp_path}"))

    dead, alive = await Batch.all().order_by("touched_at")
    assert dead.closed_at is not None
    assert dead.error is not None
    assert dead.error["code"] == "batch_interrupted"
    assert alive.closed_at is None
