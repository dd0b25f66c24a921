"""Which storage a URL names."""

from __future__ import annotations

from app.storage.content_store import ContentStore
from app.storage.files import FileStore
from app.storage.objects import ObjectStore, S3Access


async def open_store(url: str, access: S3Access) -> ContentStore:
    """The storage at `file://…` or `s3://…`.

    Raises:
        StartupError: It cannot be used; the sentence says what to do.
    """
    if url.startswith("s3://"):
        return await ObjectStore.opened(url, access)
    return FileStore(url)
