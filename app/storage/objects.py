"""Large contents as objects in a bucket: `s3://…`, of S3 itself or of anything else that speaks it.

An object store has no locks. So whoever stores a content notes its key first, where those can see it who
remove what was left behind (app/models/uploads.py).
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self, cast
from urllib.parse import urlsplit

import structlog
from obstore.exceptions import AlreadyExistsError
from obstore.store import S3Store
from pydantic import SecretStr

from app.errors import ContentMissing, StartupError, StorageUnavailable
from app.storage.content_store import COPY_BYTES, FOLDERS, KEY, MARK, StoredContent
from app.storage.files import storage_error
from app.storage.object_content import PIECE_BYTES, ObjectContent
from app.storage.object_errors import troubles_told

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config

log = structlog.get_logger(__name__)

#: What S3 takes at the least; of each upload, up to four are in memory.
PART_BYTES = 5 * 1024 * 1024
PARTS_AT_ONCE = 2

#: What a bulk delete takes.
REMOVED_AT_ONCE = 1000

RETRIES = 4
RETRY_FOR_S = 10
CONNECT_TIMEOUT_S = 5


@dataclass(frozen=True, slots=True)
class S3Access:
    """How a bucket is reached. What is None is for the library to find: in the environment, or a role."""

    endpoint_url: str | None = None
    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: SecretStr | None = None
    session_token: SecretStr | None = None
    timeout_s: float = 30  # Of one request, which moves a few megabytes at the most.


class ObjectStore:
    """A `ContentStore` in a bucket."""

    needs_notes = True

    def __init__(self, url: str, access: S3Access) -> None:
        """Of what `url` (`s3://bucket/prefix`) names; nothing is asked yet."""
        self.url = url
        self._objects = _bucket(url, access)

    @classmethod
    async def opened(cls, url: str, access: S3Access) -> Self:
        """One that answers.

        Raises:
            StartupError: It does not, or refuses us.
        """
        store = cls(url, access)
        try:
            await store.is_empty()
        except StorageUnavailable as error:
            raise StartupError(
                f"STORAGE_URL names {url}, which cannot be used: {error.reason}. Check the bucket's name,"
                " AWS_ENDPOINT_URL, AWS_REGION, and whether AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY, or"
                " the role of this machine, may list the bucket, and read, write and delete in it."
            ) from None
        return store

    @asynccontextmanager
    async def held(self, key: str, source: BinaryIO) -> AsyncIterator[StoredContent]:
        """See `ContentStore.held`: what holds the object is the caller's note, which outlives its process."""
        hashed = _Hashed(source)
        with troubles_told():
            await self._put(_checked(key), hashed)
        yield StoredContent(key, hashed.sha256.hexdigest(), hashed.size_bytes)

    async def _put(self, key: str, hashed: _Hashed) -> None:
        first = await asyncio.to_thread(hashed.read, PART_BYTES)
        if len(first) < PART_BYTES:
            await self._objects.put_async(key, first)  # One request in place of three.
            return
        blocks = chain([first], hashed.blocks())
        await self._objects.put_async(key, blocks, chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE)

    @asynccontextmanager
    async def local(self, key: str) -> AsyncIterator[Path]:
        """See `ContentStore.local`: a copy without a name, so that a process that is killed leaves none."""
        content = await self.open(key)
        with tempfile.TemporaryFile() as file:
            try:
                while piece := await content.read(PIECE_BYTES):
                    await asyncio.to_thread(file.write, piece)
                file.flush()
            except OSError as error:
                raise storage_error(error) from error
            yield Path(f"/dev/fd/{file.fileno()}")

    async def open(self, key: str) -> ObjectContent:
        """See `ContentStore.open`. When it is deleted meanwhile, reading on raises `ContentMissing`."""
        with troubles_told(key):
            found = await self._objects.head_async(_checked(key))
        return ObjectContent(self._objects, key, found["size"])

    async def delete(self, *keys: str) -> None:
        """See `ContentStore.delete`."""
        await self.remove(keys)

    async def remove(self, keys: Sequence[str]) -> int:
        """Remove objects, gone already or not; the number of those that are not there any more."""
        removed = 0
        for first in range(0, len(keys), REMOVED_AT_ONCE):
            some = [_checked(key) for key in keys[first : first + REMOVED_AT_ONCE]]
            try:
                with troubles_told():
                    await self._objects.delete_async(some)
                removed += len(some)
            except StorageUnavailable as error:
                log.warning("content_not_deleted", content_key=some[0], objects=len(some), error=error.reason)
        return removed

    async def owner(self) -> str | None:
        """See `ContentStore.owner`."""
        try:
            with troubles_told(MARK):
                mark = await self._objects.get_async(MARK)
                return bytes(await mark.bytes_async()).decode().strip()
        except ContentMissing:
            return None

    async def mark(self, owner: str) -> None:
        """See `ContentStore.mark`; where the store knows no conditions, the last of two at once stays."""
        with troubles_told():
            try:
                await self._objects.put_async(MARK, owner.encode(), mode="create")
            except AlreadyExistsError:
                return

    async def is_empty(self) -> bool:
        """See `ContentStore.is_empty`; but for what has been removed since."""
        return not await self.some_names(1)

    async def some_names(self, limit: int) -> list[str]:
        """See `ContentStore.some_names`."""
        names: list[str] = []
        with troubles_told():
            async for found in self._objects.list(chunk_size=limit + 1):  # The mark is not counted.
                names += [each["path"] for each in found if KEY.fullmatch(each["path"])]
                if len(names) >= limit:
                    break
        return names[:limit]

    async def old_keys(self, folder: str, *, older_than_s: float) -> AsyncIterator[list[str]]:
        """Keys of what was written so long ago below one of `FOLDERS`, as they are found.

        Raises:
            StorageUnavailable: Not all can be listed just now.
        """
        assert folder in FOLDERS
        newest = time.time() - older_than_s
        with troubles_told():
            async for found in self._objects.list(folder, chunk_size=REMOVED_AT_ONCE):
                yield [
                    each["path"]
                    for each in found
                    if KEY.fullmatch(each["path"]) and each["last_modified"].timestamp() < newest
                ]


class _Hashed:
    """A stream in blocks, hashed as they go by."""

    def __init__(self, source: BinaryIO) -> None:
        self.sha256 = hashlib.sha256()
        self.size_bytes = 0
        self._source = source

    def read(self, size: int) -> bytes:
        """The next block; fewer bytes than `size` only at the end."""
        block = self._source.read(size)
        self.sha256.update(block)
        self.size_bytes += len(block)
        return block

    def blocks(self) -> Iterator[bytes]:
        """What is left. It is asked for in threads of the library's, a block after the other."""
        while block := self.read(COPY_BYTES):
            yield block


def _bucket(url: str, access: S3Access) -> S3Store:
    place = urlsplit(url)
    given: dict[str, Any] = {
        "endpoint": access.endpoint_url,
        "region": access.region,
        "access_key_id": access.access_key_id,
        "secret_access_key": access.secret_access_key and access.secret_access_key.get_secret_value(),
        "session_token": access.session_token and access.session_token.get_secret_value(),
    }
    client: ClientConfig = {
        "timeout": timedelta(seconds=access.timeout_s),
        "connect_timeout": timedelta(seconds=min(CONNECT_TIMEOUT_S, access.timeout_s)),
    }
    if (access.endpoint_url or "").startswith("http://"):
        client["allow_http"] = True
    retry: RetryConfig = {
        "max_retries": RETRIES,
        "retry_timeout": timedelta(seconds=min(RETRY_FOR_S, access.timeout_s)),
    }
    return S3Store(
        place.netloc,
        prefix=place.path.strip("/") or None,
        config=cast("S3Config", {name: value for name, value in given.items() if value is not None}),
        client_options=client,
        retry_config=retry,
    )


def _checked(key: str) -> str:
    if not KEY.fullmatch(key):
        raise ContentMissing(key)  # Keys come from the database; one that is not ours leads nowhere.
    return key
