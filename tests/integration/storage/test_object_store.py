"""The object store against a server that speaks S3 and checks every signature."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import signal
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr

from app.errors import ContentMissing, StartupError, StorageFull, StorageUnavailable
from app.storage.content_store import new_key
from app.storage.files import FileStore
from app.storage.object_content import FIRST_PIECE_BYTES
from app.storage.objects import PART_BYTES, ObjectStore
from app.storage.opening import open_store
from tests.object_server import ACCESS_KEY_ID, SECRET_ACCESS_KEY, ObjectServer, objects
from tests.support import saved

NO_SERVER = "http://127.0.0.1:9"

#: For requests that nobody answers.
SOON_S = 0.3


@pytest.fixture
def bucket(object_server: ObjectServer) -> Path:
    return object_server.bucket(f"bucket-{uuid4()}")


@pytest.fixture
def url(bucket: Path) -> str:
    return f"s3://{bucket.name}/some/prefix"


@pytest.fixture
def store(object_server: ObjectServer, url: str) -> ObjectStore:
    return object_server.store(url)


async def read(store: ObjectStore, key: str) -> bytes:
    async with store.local(key) as path:
        return path.read_bytes()


@pytest.mark.parametrize("size", [0, 5, PART_BYTES, 2 * PART_BYTES + 3], ids=["none", "few", "part", "parts"])
async def test_what_was_stored_is_read_until_it_is_deleted(
    store: ObjectStore, bucket: Path, size: int
) -> None:
    content = os.urandom(size)

    stored = await saved(store, content)

    assert objects(bucket) == {f"some/prefix/{stored.key}": content}
    assert stored.size_bytes == size
    assert await read(store, stored.key) == content
    await store.delete(stored.key)
    assert objects(bucket) == {}
    with pytest.raises(ContentMissing):
        await read(store, stored.key)
    await store.delete(stored.key)


async def test_pieces_of_all_sizes_are_read_from_everywhere(store: ObjectStore) -> None:
    content = os.urandom(5 * FIRST_PIECE_BYTES + 1)
    stored = await saved(store, content)
    opened = await store.open(stored.key)

    for start, size in [(0, 10), (3, FIRST_PIECE_BYTES), (FIRST_PIECE_BYTES - 1, 3), (len(content) - 2, 99)]:
        await opened.seek(start)
        assert await opened.read(size) == content[start : start + size]
    await opened.seek(0)
    blocks = []
    while block := await opened.read(50_000):
        blocks.append(block)
    assert {len(block) for block in blocks[:-1]} == {50_000}
    assert b"".join(blocks) == content


async def test_reading_ends_when_the_object_is_deleted(store: ObjectStore) -> None:
    stored = await saved(store, bytes(FIRST_PIECE_BYTES * 2))
    opened = await store.open(stored.key)
    await opened.read(10)
    await store.delete(stored.key)

    await opened.seek(10)
    with pytest.raises(ContentMissing):
        await opened.read(10)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_copy_for_the_parser_is_gone_whatever_happens(store: ObjectStore) -> None:
    stored = await saved(store, b"gates")
    before = descriptors()

    with pytest.raises(RuntimeError, match="while it is parsed"):
        async with store.local(stored.key) as path:
            assert path.stat().st_size == 5
            assert path.resolve().name.endswith("(deleted)")  # It never had a name.
            raise RuntimeError("while it is parsed")
    assert descriptors() <= before


async def test_a_stream_that_breaks_off_leaves_nothing(store: ObjectStore, bucket: Path) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > PART_BYTES * 2:
                raise OSError(28, "No space left on device")
            return super().read(size)

    with pytest.raises(StorageFull):
        async with store.held(new_key(), Broken(bytes(PART_BYTES * 3))):
            pass
    assert objects(bucket) == {}
    assert not list(bucket.parent.glob(".nanio/multipart/**/*some*"))


async def test_the_first_mark_stays_where_the_store_knows_conditions_and_is_no_content(
    store: ObjectStore,
) -> None:
    assert (await store.owner(), await store.is_empty()) == (None, True)
    await store.mark("we")
    assert (await store.owner(), await store.is_empty()) == ("we", True)
    stored = await saved(store, b"gates")
    assert not await store.is_empty()
    assert await store.some_names(5) == [stored.key]


async def test_old_objects_are_found_folder_by_folder(store: ObjectStore, bucket: Path) -> None:
    keys = {f"{folder}/{token}" for folder in ("00", "ff") for token in ("0" * 32, "f" * 32)}
    for key in keys:
        async with store.held(key, io.BytesIO(b"x")):
            pass
    (bucket / "some/prefix/00/notes.txt").write_text("not ours")

    async def old(folder: str, age_s: float) -> set[str]:
        return {key async for found in store.old_keys(folder, older_than_s=age_s) for key in found}

    assert await old("00", -60) | await old("ff", -60) == keys
    assert await old("00", 3600) == await old("aa", -60) == set()
    assert await store.remove(sorted(keys)) == 4
    assert list(objects(bucket)) == ["some/prefix/00/notes.txt"]


async def test_a_folder_that_was_copied_into_a_bucket_is_a_store(
    store: ObjectStore, bucket: Path, tmp_path: Path
) -> None:
    folder = FileStore(f"file://{tmp_path}")
    stored = await saved(folder, b"gates")
    await folder.mark("we")

    shutil.copytree(tmp_path, bucket / "some/prefix")

    assert await read(store, stored.key) == b"gates"
    assert await store.owner() == "we"


# --- What can go wrong --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "bucket_name", "told"),
    [
        ({"secret_access_key": SecretStr("wrong-secret")}, None, "the secret access key is wrong"),
        ({"access_key_id": "nobody"}, None, "the access key is unknown there"),
        ({}, "no-such-bucket", "there is no such bucket"),
        ({"endpoint_url": NO_SERVER, "timeout_s": SOON_S}, None, "cannot be reached"),
    ],
    ids=["secret", "key", "bucket", "server"],
)
async def test_a_bucket_that_cannot_be_used_stops_the_start_with_what_to_do(
    object_server: ObjectServer, url: str, changes: dict[str, object], bucket_name: str | None, told: str
) -> None:
    access = object_server.access(**{"timeout_s": 1} | changes)

    with pytest.raises(StartupError, match=told) as refused:
        await open_store(f"s3://{bucket_name}" if bucket_name else url, access)

    assert "AWS_ENDPOINT_URL" in str(refused.value)
    shown = "".join(traceback.format_exception(refused.value))
    assert "wrong-secret" not in shown + repr(access)
    assert ACCESS_KEY_ID not in shown
    assert "127.0.0.1" not in shown


async def test_a_bucket_that_can_be_used_and_a_folder_are_opened(
    object_server: ObjectServer, url: str, tmp_path: Path
) -> None:
    access = object_server.access()
    assert SECRET_ACCESS_KEY not in repr(access)
    assert isinstance(await open_store(url, access), ObjectStore)
    assert isinstance(await open_store(f"file://{tmp_path}", access), FileStore)


@pytest.fixture(params=["silent", "gone"])
async def away(
    request: pytest.FixtureRequest, object_server: ObjectServer, url: str
) -> AsyncIterator[ObjectStore]:
    """A store that is not to be had: it does not answer, or there is nobody at all."""
    if request.param == "gone":
        yield object_server.store(url, timeout_s=SOON_S, endpoint_url=NO_SERVER)
        return
    with object_server.silent():
        yield object_server.store(url, timeout_s=SOON_S)


async def test_nothing_waits_for_a_store_that_is_away(
    away: ObjectStore, bucket: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def put() -> None:
        async with away.held(new_key(), io.BytesIO(bytes(PART_BYTES * 3))):
            pass

    async with asyncio.timeout(15):
        done = await asyncio.gather(
            put(), read(away, new_key()), away.owner(), away.delete(new_key()), return_exceptions=True
        )
    assert [type(each) for each in done] == [StorageUnavailable] * 3 + [type(None)]
    assert "content_not_deleted" in caplog.text
    assert objects(bucket) == {}


async def test_a_server_that_falls_silent_in_the_middle_of_a_stream_fails_both_ways(
    object_server: ObjectServer, url: str, bucket: Path
) -> None:
    store = object_server.store(url, timeout_s=SOON_S)
    stored = await saved(store, os.urandom(FIRST_PIECE_BYTES * 3))
    opened = await store.open(stored.key)
    await opened.read(10)

    class Stopping(io.BytesIO):
        """Its first part is taken, and then nobody answers."""

        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > PART_BYTES:
                os.kill(object_server.process.pid, signal.SIGSTOP)
            return super().read(size)

    with object_server.silent(), pytest.raises(StorageUnavailable):
        await opened.read(FIRST_PIECE_BYTES * 2)
    try:
        with pytest.raises(StorageUnavailable):
            async with store.held(new_key(), Stopping(bytes(PART_BYTES * 4))):
                pass
    finally:
        os.kill(object_server.process.pid, signal.SIGCONT)
    assert list(objects(bucket)) == [f"some/prefix/{stored.key}"]


async def test_a_key_that_is_none_of_ours_leads_nowhere(store: ObjectStore) -> None:
    for key in ("../../other", "ab/short", ".installation"):
        with pytest.raises(ContentMissing):
            await store.open(key)
