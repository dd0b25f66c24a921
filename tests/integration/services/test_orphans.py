"""Files without a row are removed, and never one whose row is on its way."""

from __future__ import annotations

import asyncio
import io
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import asyncpg
import httpx
import pytest

from app.core.config import Settings
from app.core.database import connect, database
from app.models import acceptance
from app.models.acceptance import Accepted, NewDocument
from app.models.document import Document
from app.models.reach import EVERYTHING
from app.services.intake_service import IntakeService, Offer
from app.services.orphans import BATCH, adopt, remove_orphans
from app.storage.content_store import MARK, new_key
from app.storage.files import FileStore
from bench.endless_upload import FORM_HEAD
from tests.processes import api_process, eventually
from tests.support import emptied_database, saved

TEXT = "The upper gate opens at six in the morning. " * 10


@pytest.fixture(autouse=True)
async def opened(settings: Settings, migrated: None) -> AsyncIterator[None]:
    async with database(settings):
        await emptied_database()
        yield


@pytest.fixture
async def owner(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    connection = await connect(settings)
    yield connection
    await connection.close()


@pytest.fixture
async def store(tmp_path: Path) -> FileStore:
    store = FileStore(f"file://{tmp_path}")
    await adopt(store)
    return store


@pytest.fixture
def intake(store: FileStore) -> IntakeService:
    return IntakeService(store=store, inline_content_bytes=10)


def files(store: FileStore) -> list[Path]:
    return sorted(path for path in store.root.rglob("*") if path.is_file() and path.name != MARK)


def age(path: Path, hours: float = 2) -> Path:
    """As if it had been written so long ago."""
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime - hours * 3600))
    return path


async def left_behind(store: FileStore, text: str = TEXT, *, suffix: str = "") -> Path:
    path = store.root / (await saved(store, text.encode())).key
    return age(path.rename(f"{path}{suffix}"))


async def test_old_files_without_a_row_go_and_all_others_stay(
    store: FileStore, intake: IntakeService
) -> None:
    accepted = await intake.accept(Offer(content=io.BytesIO(TEXT.encode())), EVERYTHING)
    document = await Document.get(id=accepted.document_id)
    assert document.content_key is not None
    named = age(store.root / document.content_key)
    young = store.root / (await saved(store, b"young")).key
    foreign = store.root / "ab" / "notes.txt"
    foreign.parent.mkdir(exist_ok=True)
    foreign.write_text("not ours")
    age(foreign)
    await left_behind(store)
    await left_behind(store, suffix=".partial")

    assert await remove_orphans(store) == 2
    assert files(store) == sorted([named, young, foreign])
    assert await remove_orphans(store) == 0


async def test_a_deleted_document_s_file_that_could_not_be_removed_goes_later(
    store: FileStore, intake: IntakeService
) -> None:
    accepted = await intake.accept(Offer(content=io.BytesIO(TEXT.encode())), EVERYTHING)
    (path,) = files(store)
    await Document.remove(accepted.document_id, EVERYTHING)

    age(path)
    assert await remove_orphans(store) == 1
    assert files(store) == []


async def test_more_files_than_a_batch_are_all_looked_at(store: FileStore) -> None:
    with patch("os.fsync"):  # Of no interest here, and slow a hundred times over.
        for number in range(BATCH + 5):
            await left_behind(store, str(number))

    assert await remove_orphans(store) == BATCH + 5


async def test_a_file_whose_accept_is_stopped_before_its_row_stays_however_old_it_is(
    store: FileStore, intake: IntakeService
) -> None:
    accept = acceptance.accept
    has_file, go_on = asyncio.Event(), asyncio.Event()

    async def held_up(new: NewDocument) -> Accepted:
        has_file.set()
        await go_on.wait()
        return await accept(new)

    with patch.object(acceptance, "accept", held_up):
        accepting = asyncio.create_task(intake.accept(Offer(content=io.BytesIO(TEXT.encode())), EVERYTHING))
        await has_file.wait()
        (path,) = files(store)
        age(path, hours=48)
        assert await remove_orphans(store) == 0
        go_on.set()
        accepted = await accepting

    assert await remove_orphans(store) == 0
    document = await Document.get(id=accepted.document_id)
    assert document.content_key is not None
    assert (store.root / document.content_key).read_text() == TEXT


async def test_a_file_that_is_being_written_stays(store: FileStore) -> None:
    class Slow(io.BytesIO):
        """In the middle of its copy, a day goes by and the sweep comes."""

        swept = -1

        def read(self, size: int | None = -1) -> bytes:
            block = super().read(min(size or -1, 4))
            if self.tell() == 8:
                (partial,) = files(store)
                assert partial.suffix == ".partial"
                age(partial, hours=24)
                Slow.swept = asyncio.run_coroutine_threadsafe(remove_orphans(store), loop).result()
            return block

    loop = asyncio.get_running_loop()
    async with store.held(new_key(), Slow(b"The upper gate")) as stored:
        pass

    assert Slow.swept == 0
    assert (store.root / stored.key).read_bytes() == b"The upper gate"


async def test_a_row_that_outlives_its_client_finds_its_file(
    store: FileStore, owner: asyncpg.Connection, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The API is killed while its INSERT waits for a lock: PostgreSQL carries it out all the same."""
    environment = {"STORAGE_URL": f"file://{tmp_path}", "INLINE_CONTENT_BYTES": "10"}
    lock = owner.transaction()
    await lock.start()
    with api_process(environment, tmp_path_factory.mktemp("api") / "log") as api:
        # With its statement prepared, all that the next one needs is on its way at once.
        form = {"file": ("gate.txt", b"A larger text than what is kept in the row.")}
        async with httpx.AsyncClient(base_url=api.url, trust_env=False) as client:
            assert (await client.post("/ingest", files=form)).status_code == 201
        earlier = age(files(store)[0])
        await owner.execute("LOCK TABLE documents IN SHARE MODE")
        body = FORM_HEAD + TEXT.encode() + b"\r\n--b--\r\n"
        with socket.create_connection(("127.0.0.1", api.port)) as connection:
            connection.sendall(
                b"POST /ingest HTTP/1.1\r\nhost: a\r\ncontent-type: multipart/form-data; boundary=b\r\n"
                b"content-length: %d\r\n\r\n%s" % (len(body), body)
            )
            await until(
                lambda: owner.fetchval(
                    "SELECT count(*) FROM pg_stat_activity"
                    " WHERE wait_event_type = 'Lock' AND query LIKE '%INSERT INTO documents%'"
                )
            )
        api.process.kill()
        api.process.wait()
    (path,) = (path for path in files(store) if path != earlier)
    age(path)

    assert await remove_orphans(store, older_than_s=0) == 0
    await lock.rollback()
    document = await until(lambda: Document.filter(size_bytes=len(TEXT)).first())
    assert store.root / str(document.content_key) == path
    assert await remove_orphans(store, older_than_s=0) == 0
    assert path.read_text() == TEXT


async def until(look: Callable[[], Awaitable[Any]]) -> Any:
    """The first true answer; fails when there is none in time."""
    async with asyncio.timeout(20):
        while not (found := await look()):
            await asyncio.sleep(0.02)  # Between two looks.
        return found


async def test_a_killed_accept_leaves_a_file_that_the_next_sweep_removes(
    store: FileStore, owner: asyncpg.Connection, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    environment = {
        "STORAGE_URL": f"file://{tmp_path}",
        "INLINE_CONTENT_BYTES": "10",
        "MAX_UPLOAD_BYTES": "2000000000",
    }
    with api_process(environment, tmp_path_factory.mktemp("api") / "log") as api:
        body = FORM_HEAD + TEXT.encode() * 100_000 + b"\r\n--b--\r\n"
        with socket.create_connection(("127.0.0.1", api.port)) as connection:
            connection.sendall(
                b"POST /ingest HTTP/1.1\r\nhost: a\r\ncontent-type: multipart/form-data; boundary=b\r\n"
                b"content-length: %d\r\n\r\n" % len(body)
            )
            connection.sendall(body)
            eventually(lambda: files(store))
            api.process.kill()
            api.process.wait()
    (path,) = files(store)
    assert path.suffix == ".partial"
    assert await Document.all().count() == 0
    age(path)

    assert await remove_orphans(store) == 1
    assert files(store) == []


async def test_nothing_is_removed_from_the_storage_of_another_database(
    store: FileStore, settings: Settings
) -> None:
    left = age(store.root / (await saved(store, b"of another database")).key)
    (store.root / MARK).write_text("0199c0de-7a11-7c4e-8a55-0242ac120002")

    assert await remove_orphans(store) == 0
    assert left.exists()


async def test_a_storage_with_files_is_adopted_only_when_a_row_names_one_of_them(
    tmp_path: Path,
) -> None:
    foreign = FileStore(f"file://{tmp_path / 'foreign'}")
    await saved(foreign, b"somebody's")
    await adopt(foreign)
    assert await foreign.owner() is None
    assert await remove_orphans(foreign, older_than_s=0) == 0

    ours = FileStore(f"file://{tmp_path / 'ours'}")
    intake = IntakeService(store=ours, inline_content_bytes=10)
    await intake.accept(Offer(content=io.BytesIO(TEXT.encode())), EVERYTHING)
    await saved(ours, b"left behind")
    await adopt(ours)

    assert await remove_orphans(ours, older_than_s=0) == 1
