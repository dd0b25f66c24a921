"""What nobody needs any more goes by itself, and nothing else does."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from tortoise import connections

from app.core.config import Settings
from app.core.database import database
from app.models.document import Document, NewDocument
from app.models.embedded_text import EmbeddedText
from app.models.idempotency_key import IdempotencyKey
from app.services.housekeeping import clean
from app.services.orphans import adopt
from app.storage.content_store import MARK, ContentStore
from tests.support import emptied_database


@pytest.fixture(autouse=True)
async def opened(settings: Settings, migrated: None) -> AsyncIterator[None]:
    async with database(settings):
        await emptied_database()
        await IdempotencyKey.all().delete()
        yield


def files_below(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file() and file.name != MARK]


async def test_what_is_old_goes_and_what_is_young_stays(tmp_path: Path) -> None:
    store = ContentStore(f"file://{tmp_path}")
    await adopt(store)
    old, young = store.save(BytesIO(b"old")), store.save(BytesIO(b"young"))
    os.utime(store.path(old.key), (time.time() - 7200,) * 2)
    new = NewDocument(sha256="0" * 64, size_bytes=1, media_type="text/plain", content=b"x")
    document_id = (await Document.accept(new)).document_id
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
    assert files_below(tmp_path) == [store.path(young.key)]
