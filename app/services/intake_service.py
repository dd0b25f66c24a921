"""From a request to a durable row: what the API does with a document."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from app.errors import EmptyFile
from app.models.document import Accepted, Document, NewDocument
from app.parsing.detection import HEAD_BYTES, detect
from app.storage.content_store import ContentStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A document as it was sent. `content` is read from its beginning, and may be larger than the memory."""

    content: BinaryIO
    collection: str = "default"
    external_id: str | None = None
    title: str | None = None
    source_name: str | None = None
    metadata: Mapping[str, Any] | None = None


class IntakeService:
    """Hashes, checks for a duplicate, makes durable. Small contents go into the row's own transaction."""

    def __init__(self, *, store: ContentStore, inline_content_bytes: int) -> None:
        self.store = store
        self.inline_content_bytes = inline_content_bytes

    async def accept(self, offer: Offer) -> Accepted:
        """Make the offered document durable, or find the one that it is already.

        Raises:
            EmptyFile: There is nothing in it.
            UnsupportedMediaType: Its beginning shows that it cannot be read. What only reading can tell (a
                damaged file, one without text) fails the document later.
            StorageFull, StorageUnavailable: It could not be stored; no row was written.
        """
        inline = offer.content.read(self.inline_content_bytes + 1)
        if len(inline) <= self.inline_content_bytes:
            accepted = await self._accept_inline(offer, inline)
        else:
            accepted = await self._accept_stored(offer)
        if accepted.unused_key is not None:
            await asyncio.to_thread(self.store.delete, accepted.unused_key)
        return accepted

    async def _accept_inline(self, offer: Offer, content: bytes) -> Accepted:
        if not content.strip():
            raise EmptyFile
        media_type = detect(content[:HEAD_BYTES], offer.source_name)
        sha256 = hashlib.sha256(content).hexdigest()
        return await Document.accept(
            _new_document(offer, media_type, sha256=sha256, size_bytes=len(content), content=content)
        )

    async def _accept_stored(self, offer: Offer) -> Accepted:
        offer.content.seek(0)
        media_type = detect(offer.content.read(HEAD_BYTES), offer.source_name)
        offer.content.seek(0)
        stored = await asyncio.to_thread(self.store.save, offer.content)
        # If this fails, the row may be there all the same (a lost reply to COMMIT), so the file has to stay.
        return await Document.accept(
            _new_document(
                offer, media_type, sha256=stored.sha256, size_bytes=stored.size_bytes, content_key=stored.key
            )
        )


def _new_document(
    offer: Offer,
    media_type: str,
    *,
    sha256: str,
    size_bytes: int,
    content: bytes | None = None,
    content_key: str | None = None,
) -> NewDocument:
    return NewDocument(
        sha256=sha256,
        size_bytes=size_bytes,
        media_type=media_type,
        content=content,
        content_key=content_key,
        collection=offer.collection,
        external_id=offer.external_id,
        title=offer.title,
        source_name=offer.source_name,
        metadata=offer.metadata,
    )
