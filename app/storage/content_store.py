"""Large contents, as files below one folder; durable when `save` returns."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
from pathlib import Path
from typing import BinaryIO, NamedTuple

import structlog

from app.errors import ContentMissing, StartupError, StorageFull, StorageUnavailable

log = structlog.get_logger(__name__)

#: The disk is full, the user's share of it, or the largest size is reached that a file may have there.
NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

KEY = re.compile(r"[0-9a-f]{2}/[0-9a-f]{32}")

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
        token = secrets.token_hex(16)
        key = f"{token[:2]}/{token}"
        path = self.root / key
        partial = path.with_suffix(".partial")
        sha256 = hashlib.sha256()
        try:
            path.parent.mkdir(exist_ok=True)
            with partial.open("xb") as target:
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
            raise storage_error(error) from error
        return StoredContent(key, sha256.hexdigest(), size_bytes)

    def path(self, key: str) -> Path:
        """Where the content is.

        Raises:
            ContentMissing: It is not there (any more).
        """
        path = self._path(key)
        if not path.is_file():
            raise ContentMissing(key)
        return path

    def delete(self, key: str) -> None:
        """Remove the content; well if it is gone already.

        A file that cannot be removed is told in the log: no row names it any more, so it harms nobody.
        """
        try:
            self._path(key).unlink(missing_ok=True)
        except OSError as error:
            log.warning("content_not_deleted", content_key=key, error=str(error))

    def _path(self, key: str) -> Path:
        if not KEY.fullmatch(key):
            raise ContentMissing(key)  # Keys come from the database; one that is not ours leads nowhere.
        return self.root / key


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
