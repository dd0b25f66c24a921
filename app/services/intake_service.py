"""From a request to a durable row: what the API does with a document."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from app.errors import EmptyFile, IdempotencyKeyReused, UploadForgotten
from app.models import acceptance, uploads
from app.models.acceptance import Accepted, NewDocument
from app.models.document import DocumentStatus
from app.models.idempotency_key import IdempotencyKey
from app.models.reach import Reach
from app.models.sql import transaction
from app.parsing.detection import HEAD_BYTES, detect
from app.services.group_commit import GroupCommit
from app.storage.content_store import ContentStore, new_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A document as it was sent. `content` is read from its beginning, and may be larger than the memory."""

    content: BinaryIO
    collection: str = "default"
    external_id: str | None = None
    title: str | None = None
    source_name: str | None = None
    path: str | None = None  # Of a file of a batch, as it is told of there; it is not kept with the document.
    metadata: Mapping[str, Any] | None = None
    idempotency_key: str | None = None


class IntakeService:
    """Hashes, checks for a duplicate, makes durable. Small contents go into the row's own transaction."""

    def __init__(self, *, store: ContentStore, inline_content_bytes: int) -> None:
        self.store = store
        self.inline_content_bytes = inline_content_bytes
        self._together = GroupCommit()

    async def accept(self, offer: Offer, reach: Reach) -> Accepted:
        """Make the offered document durable, or find the one that it is already.

        Raises:
            Forbidden: Its collection lies out of reach.
            EmptyFile: There is nothing in it.
            UnsupportedMediaType: Its beginning shows that it cannot be read. What only reading can tell (a
                damaged file, one without text) fails the document later.
            StorageFull, StorageUnavailable: It could not be stored; no document was written.
            IdempotencyKeyReused: The key came with another document before.
        """
        reach.require(offer.collection)
        if offer.idempotency_key is not None:
            offer = replace(offer, idempotency_key=reach.own(offer.idempotency_key))
        inline = offer.content.read(self.inline_content_bytes + 1)
        if len(inline) <= self.inline_content_bytes:
            accepted = await self._accept_inline(offer, inline)
        else:
            accepted = await self._accept_stored(offer)
        if accepted.unused_key is not None:
            await self.store.delete(accepted.unused_key)
        return accepted

    async def accept_small(self, new: NewDocument) -> Accepted:
        """Make a `small_document` durable, or find the one that it is already."""
        accepted = await acceptance.accept(new)
        if accepted.unused_key is not None:  # Of the version before.
            await self.store.delete(accepted.unused_key)
        return accepted

    async def _accept_inline(self, offer: Offer, content: bytes) -> Accepted:
        new = small_document(offer, content)
        if offer.idempotency_key is None:
            return await self._together.accept(new)
        return await _accept_once(new, offer.idempotency_key)

    async def _accept_stored(self, offer: Offer) -> Accepted:
        offer.content.seek(0)
        media_type = detect(offer.content.read(HEAD_BYTES), offer.source_name)
        offer.content.seek(0)
        async with self.store.held(await self._new_key(), offer.content) as stored:
            new = _new_document(
                offer,
                media_type,
                sha256=stored.sha256,
                size_bytes=stored.size_bytes,
                content_key=stored.key,
                is_noted=self.store.needs_notes,
            )
            # If this fails, the row may be there all the same (a lost reply to COMMIT), so the content has to
            # stay; `remove_orphans` takes it when it is certain that no row names it.
            try:
                return await _accept_once(new, offer.idempotency_key)
            except (IdempotencyKeyReused, UploadForgotten):
                await self.store.delete(stored.key)
                raise

    async def _new_key(self) -> str:
        key = new_key()
        if self.store.needs_notes:
            await uploads.begin(key)
        return key


def small_document(offer: Offer, content: bytes) -> NewDocument:
    """An offered document whose content is kept in the database.

    Raises:
        EmptyFile, UnsupportedMediaType: See `accept`.
    """
    if not content.strip():
        raise EmptyFile
    media_type = detect(content[:HEAD_BYTES], offer.source_name)
    sha256 = hashlib.sha256(content).hexdigest()
    return _new_document(offer, media_type, sha256=sha256, size_bytes=len(content), content=content)


async def _accept_once(new: NewDocument, key: str | None) -> Accepted:
    """Accept; or, when a request with this key was answered before, answer the same again and do nothing."""
    if key is None:
        return await acceptance.accept(new)
    fingerprint = _fingerprint(new)
    async with transaction():  # Document and key are there together, or neither is.
        known = await IdempotencyKey.begin(key, fingerprint)
        if known is None:
            accepted = await acceptance.accept(new)
            await IdempotencyKey.answer(key, accepted.document_id, accepted.status, created=accepted.created)
            return accepted
    if known.fingerprint != fingerprint:
        raise IdempotencyKeyReused
    # Committed together with the key.
    assert known.document_id is not None
    assert known.status is not None
    return Accepted(
        known.document_id,
        DocumentStatus(known.status),
        created=bool(known.created),
        queued=False,
        unused_key=new.content_key,
    )


def _fingerprint(new: NewDocument) -> str:
    """Equal for equal requests, as far as anything of them is kept."""
    said = [new.sha256, new.collection, new.external_id, new.title, new.source_name, new.metadata]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _new_document(
    offer: Offer,
    media_type: str,
    *,
    sha256: str,
    size_bytes: int,
    content: bytes | None = None,
    content_key: str | None = None,
    is_noted: bool = False,
) -> NewDocument:
    return NewDocument(
        sha256=sha256,
        size_bytes=size_bytes,
        media_type=media_type,
        content=content,
        content_key=content_key,
        is_noted=is_noted,
        collection=offer.collection,
        external_id=offer.external_id,
        title=offer.title,
        source_name=offer.source_name,
        metadata=offer.metadata,
    )
