"""What every storage of large contents can do: bytes by key, durable when `held` has them."""

from __future__ import annotations

import re
import secrets
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol, runtime_checkable

KEY = re.compile(r"[0-9a-f]{2}/[0-9a-f]{32}")

#: The two digits that a key begins with; an even 256th of all keys each.
FOLDERS = [f"{number:02x}" for number in range(256)]

#: What says whose the contents are. No key of one.
MARK = ".installation"

#: Big enough to be fast, small enough for many uploads at once.
COPY_BYTES = 1024 * 1024


class StoredContent(NamedTuple):
    """What was written."""

    key: str
    sha256: str  # In hexadecimal.
    size_bytes: int


@runtime_checkable
class RemoteContent(Protocol):
    """A content that is not on this machine, read in pieces as they are asked for."""

    size_bytes: int

    async def seek(self, offset: int) -> object:
        """Go on reading from there."""

    async def read(self, size: int) -> bytes:
        """The next bytes; as many as were asked for, except at the end."""


class ContentStore(Protocol):
    """Bytes by key.

    Keys are random, so that two documents never share a content and a delete asks nobody.
    """

    #: It has no locks: each key has to be noted before its content comes, until something names it.
    needs_notes: bool

    def held(self, key: str, source: BinaryIO) -> AbstractAsyncContextManager[StoredContent]:
        """Store a stream under a `new_key`, hash it on the way; it is durable when the block begins.

        While the block lasts, or the key is noted, the content does not count as left behind.

        Raises:
            StorageFull: No space; nothing is left behind.
            StorageUnavailable: It cannot be stored for another reason; likewise.
        """

    def local(self, key: str) -> AbstractAsyncContextManager[Path]:
        """A file with the content, for as long as the block lasts.

        Raises:
            ContentMissing: It is not there (any more).
            StorageUnavailable, StorageFull: It cannot be had just now.
        """

    async def open(self, key: str) -> BinaryIO | RemoteContent:
        """The content, for reading.

        Raises:
            ContentMissing: It is not there (any more).
            StorageUnavailable: It cannot be had just now.
        """

    async def delete(self, *keys: str) -> None:
        """Remove contents; well if they are gone already.

        One that cannot be removed is told in the log: no row names it any more, so it harms nobody.
        """

    async def owner(self) -> str | None:
        """Whose contents these are, as `mark` wrote it down; None while nobody has."""

    async def mark(self, owner: str) -> None:
        """Write down whose contents these are; whoever was first stays."""

    async def is_empty(self) -> bool:
        """Whether nothing has ever been stored here."""

    async def some_names(self, limit: int) -> list[str]:
        """Keys of what is here, or names of what is being written; a few of them, any."""


def new_key() -> str:
    """One that nobody has had, nor will have."""
    token = secrets.token_hex(16)
    return f"{token[:2]}/{token}"
