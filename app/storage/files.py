"""Large contents as files below one folder, `file://…`: on the disk (`fsync`) when `held` has them."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import hashlib
import os
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import structlog

from app.errors import ContentMissing, StartupError, StorageFull, StorageUnavailable
from app.storage.content_store import COPY_BYTES, KEY, MARK, StoredContent

log = structlog.get_logger(__name__)

#: The disk is full, the user's share of it, or the largest size is reached that a file may have there.
NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

#: What the name of a file ends in until all of it is there.
PARTIAL = ".partial"


class FileStore:
    """A `ContentStore` in a folder that all processes see."""

    needs_notes = False  # Locks on the files tell which of them are still held.

    def __init__(self, url: str) -> None:
        """Open the folder that `url` (`file://…`) names, and make it if it is not there.

        Raises:
            StartupError: It cannot be made or written.
        """
        self.root = Path(url.removeprefix("file://")).absolute()
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StartupError(
                f"STORAGE_URL names {self.root}, which cannot be used: {error.strerror}."
            ) from error
        if not os.access(self.root, os.W_OK | os.X_OK):
            raise StartupError(f"STORAGE_URL names {self.root}, which cannot be written.")

    @asynccontextmanager
    async def held(self, key: str, source: BinaryIO) -> AsyncIterator[StoredContent]:
        """See `ContentStore.held`. The file is locked while the block lasts, and `unheld` leaves it out.

        The kernel keeps the lock: it goes with a process that is killed, and stays with one that is stopped
        for a day.
        """
        with ExitStack() as lock:
            yield await asyncio.to_thread(lock.enter_context, self._written(key, source))

    @contextmanager
    def _written(self, key: str, source: BinaryIO) -> Iterator[StoredContent]:
        path = self._path(key)
        partial = path.with_suffix(PARTIAL)
        sha256 = hashlib.sha256()
        lock = -1
        try:
            path.parent.mkdir(exist_ok=True)
            with partial.open("xb") as target:
                lock = os.dup(target.fileno())
                with suppress(OSError):  # A file system without locks: then only the file's age protects it.
                    fcntl.flock(lock, fcntl.LOCK_SH)
                while block := source.read(COPY_BYTES):
                    sha256.update(block)
                    target.write(block)
                target.flush()
                os.fsync(target.fileno())
                size_bytes = target.tell()
            partial.rename(path)
            # The names, too, have to be on the disk: the file's, and its folder's.
            _sync_folder(path.parent)
            _sync_folder(self.root)
        except OSError as error:
            partial.unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            _close(lock)
            raise storage_error(error) from error
        try:
            yield StoredContent(key, sha256.hexdigest(), size_bytes)
        finally:
            _close(lock)

    @asynccontextmanager
    async def local(self, key: str) -> AsyncIterator[Path]:
        """See `ContentStore.local`: the file itself."""
        path = self._path(key)
        if not path.is_file():
            raise ContentMissing(key)
        yield path

    async def open(self, key: str) -> BinaryIO:
        """See `ContentStore.open`: readable to its end even when it is deleted meanwhile."""
        try:
            return await asyncio.to_thread(self._path(key).open, "rb")
        except (FileNotFoundError, IsADirectoryError) as error:
            raise ContentMissing(key) from error

    async def delete(self, *keys: str) -> None:
        """See `ContentStore.delete`."""
        for key in keys:
            try:
                await asyncio.to_thread(self._path(key).unlink, missing_ok=True)
            except OSError as error:
                log.warning("content_not_deleted", content_key=key, error=str(error))

    async def owner(self) -> str | None:
        """See `ContentStore.owner`."""
        try:
            return (await asyncio.to_thread(self._mark_path.read_text)).strip()
        except FileNotFoundError:
            return None

    async def mark(self, owner: str) -> None:
        """See `ContentStore.mark`."""
        await asyncio.to_thread(self._mark, owner)

    def _mark(self, owner: str) -> None:
        with suppress(FileExistsError), self._mark_path.open("x") as file:
            file.write(owner)

    async def is_empty(self) -> bool:
        """See `ContentStore.is_empty`."""
        return await asyncio.to_thread(lambda: not any(self.root.glob("[0-9a-f][0-9a-f]")))

    async def some_names(self, limit: int) -> list[str]:
        """See `ContentStore.some_names`."""
        return await asyncio.to_thread(lambda: list(islice(self.old_files(older_than_s=0), limit)))

    @property
    def _mark_path(self) -> Path:
        return self.root / MARK

    def old_files(self, *, older_than_s: float) -> Iterator[str]:
        """The names (a key, or that of an unfinished file) of what was last written so long ago."""
        newest = time.time() - older_than_s
        for folder in sorted(self.root.glob("[0-9a-f][0-9a-f]")):
            with suppress(FileNotFoundError), os.scandir(folder) as entries:
                for entry in entries:
                    name = f"{folder.name}/{entry.name}"
                    if KEY.fullmatch(name.removesuffix(PARTIAL)) and _written_before(entry, newest):
                        yield name

    @contextmanager
    def unheld(self, names: Iterable[str]) -> Iterator[list[str]]:
        """Those of the files that nobody holds, each locked while the block lasts."""
        with ExitStack() as locks:
            free = []
            for name in names:
                with suppress(OSError):  # Held, or gone, or a file system that cannot tell: leave it.
                    lock = os.open(self.root / name, os.O_RDONLY)
                    locks.callback(os.close, lock)
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    free.append(name)
            yield free

    def remove(self, names: Iterable[str]) -> int:
        """Remove files of `old_files`; the number of those that were there and are gone."""
        removed = 0
        for name in names:
            try:
                (self.root / name).unlink()
                removed += 1
            except FileNotFoundError:
                continue  # Another process sweeps, too.
            except OSError as error:
                log.warning("content_not_deleted", content_key=name, error=str(error))
        return removed

    def _path(self, key: str) -> Path:
        if not KEY.fullmatch(key):
            raise ContentMissing(key)  # Keys come from the database; one that is not ours leads nowhere.
        return self.root / key


def _close(descriptor: int) -> None:
    if descriptor >= 0:
        os.close(descriptor)


def _written_before(entry: os.DirEntry[str], moment: float) -> bool:
    try:
        return entry.stat(follow_symlinks=False).st_mtime < moment
    except FileNotFoundError:
        return False


def storage_error(error: OSError) -> StorageFull | StorageUnavailable:
    """What the file system's refusal means for a request."""
    if error.errno in NO_SPACE:
        return StorageFull()
    return StorageUnavailable(error.strerror or "unknown reason")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
