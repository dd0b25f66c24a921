"""Large contents, as files below one folder; durable when `save` returns."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

import structlog

from app.errors import ContentMissing, StartupError, StorageFull, StorageUnavailable

log = structlog.get_logger(__name__)

#: The disk is full, the user's share of it, or the largest size is reached that a file may have there.
NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

KEY = re.compile(r"[0-9a-f]{2}/[0-9a-f]{32}")

#: What the name of a file ends in until all of it is there.
PARTIAL = ".partial"

#: The file that says whose the others are.
MARK = ".installation"

#: Big enough to be fast, small enough for many uploads at once.
COPY_BYTES = 1024 * 1024


class StoredContent(NamedTuple):
    """What `save` wrote."""

    key: str
    sha256: str  # In hexadecimal.
    size_bytes: int


class ContentStore:
    """Bytes by key, in `file://` storage. Synchronous: call it off the event loop.

    Keys are random, so that two documents never share a file and a delete asks nobody.
    """

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

    def save(self, source: BinaryIO) -> StoredContent:
        """Copy a stream to a new file, hash it on the way, and wait until the disk has it.

        Raises:
            StorageFull: No space; nothing is left behind.
            StorageUnavailable: The disk refuses for another reason; likewise.
        """
        with self.held(source) as stored:
            return stored

    @contextmanager
    def held(self, source: BinaryIO) -> Iterator[StoredContent]:
        """Do as `save` does; while the block lasts, `unheld` does not count the file as left behind.

        For the time until a row names it. The kernel keeps the lock: it goes with a process that is killed,
        and stays with one that is stopped for a day.
        """
        token = secrets.token_hex(16)
        key = f"{token[:2]}/{token}"
        path = self.root / key
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

    def path(self, key: str) -> Path:
        """Where the content is.

        Raises:
            ContentMissing: It is not there (any more).
        """
        path = self._path(key)
        if not path.is_file():
            raise ContentMissing(key)
        return path

    def open(self, key: str) -> BinaryIO:
        """The content, readable to its end even when it is deleted meanwhile.

        Raises:
            ContentMissing: It is not there (any more).
        """
        try:
            return self._path(key).open("rb")
        except (FileNotFoundError, IsADirectoryError) as error:
            raise ContentMissing(key) from error

    def delete(self, key: str) -> None:
        """Remove the content; well if it is gone already.

        A file that cannot be removed is told in the log: no row names it any more, so it harms nobody.
        """
        try:
            self._path(key).unlink(missing_ok=True)
        except OSError as error:
            log.warning("content_not_deleted", content_key=key, error=str(error))

    @property
    def owner(self) -> str | None:
        """Whose files these are, as `mark` wrote it down; None while nobody has."""
        try:
            return self._mark_path.read_text().strip()
        except FileNotFoundError:
            return None

    def mark(self, owner: str) -> None:
        """Write down whose files these are; whoever was first stays."""
        with suppress(FileExistsError), self._mark_path.open("x") as file:
            file.write(owner)

    @property
    def is_empty(self) -> bool:
        """Whether nothing has ever been stored here."""
        return not any(self.root.glob("[0-9a-f][0-9a-f]"))

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
