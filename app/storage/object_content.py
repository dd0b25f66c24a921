"""An object that is read as it is needed."""

from __future__ import annotations

from obstore.store import S3Store

from app.storage.object_errors import troubles_told

#: Read at once at the most, so that memory is bounded, and a request has little to do before its timeout.
PIECE_BYTES = 4 * 1024 * 1024

#: So much of a content is read first: who asks for a short range gets little more.
FIRST_PIECE_BYTES = 128 * 1024


class ObjectContent:
    """An object, fetched in growing pieces: who wants a little of it does not wait for more."""

    def __init__(self, objects: S3Store, key: str, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self._objects = objects
        self._key = key
        self._position = 0
        self._ahead = memoryview(b"")
        self._piece_bytes = FIRST_PIECE_BYTES

    async def seek(self, offset: int) -> None:
        """Go on reading from there."""
        self._position = offset
        self._ahead = memoryview(b"")
        self._piece_bytes = FIRST_PIECE_BYTES

    async def read(self, size: int) -> bytes:
        """The next bytes; fewer than `size` only at the end.

        Raises:
            ContentMissing: It has been deleted.
            StorageUnavailable: It cannot be had just now.
        """
        size = min(size, self.size_bytes - self._position)
        if len(self._ahead) < size:
            await self._fetch(size)
        block, self._ahead = bytes(self._ahead[:size]), self._ahead[size:]
        self._position += len(block)
        return block

    async def _fetch(self, size: int) -> None:
        start = self._position + len(self._ahead)
        length = min(max(size, self._piece_bytes), self.size_bytes - start)
        with troubles_told(self._key):
            fetched = await self._objects.get_range_async(self._key, start=start, length=length)
        self._ahead = memoryview(bytes(self._ahead) + bytes(fetched))
        self._piece_bytes = min(self._piece_bytes * 2, PIECE_BYTES)
