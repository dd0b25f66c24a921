"""Gives back what was taken in: the bytes of a document, and the text that was made of them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import BinaryIO
from uuid import UUID

from app.chunking.joining import Joiner
from app.errors import ContentMissing, DocumentNotFound, NotSearchable, VersionReplaced
from app.models.chunk import Chunk
from app.models.document import Document
from app.models.document_content import DocumentContent
from app.models.reach import Reach
from app.storage.content_store import ContentStore, RemoteContent

#: Chunks that are in memory at once while a text is put together.
CHUNKS_AT_ONCE = 200


class ContentService:
    """Reads contents, wherever they are kept."""

    def __init__(self, *, store: ContentStore) -> None:
        self.store = store

    async def open(self, document_id: UUID, reach: Reach) -> tuple[Document, BinaryIO | RemoteContent]:
        """A document and its content; a file stays readable when the document is deleted meanwhile.

        Raises:
            DocumentNotFound: There is none within reach (any more).
            ContentMissing: The storage does not have it.
            StorageUnavailable: It cannot be asked just now.
        """
        missing: str | None = None
        while True:
            document = await Document.find(document_id, reach)
            if document is None:
                raise DocumentNotFound(document_id)
            if document.content_key is None:
                (content,) = await DocumentContent.read([document_id])
                if content is not None:
                    return document, await asyncio.to_thread(_in_memory, content)
            elif document.content_key == missing:
                raise ContentMissing(document.content_key)
            else:
                missing = document.content_key
                try:
                    return document, await self.store.open(document.content_key)
                except ContentMissing:
                    pass
            # A new version, or a delete, came between our two looks; or else the second look is the same.

    async def text(self, document: Document) -> AsyncIterator[str]:
        """The text of a document's indexed version, piece by piece; its chunks lie in it where they say.

        Raises:
            NotSearchable: No version has been indexed yet.
            VersionReplaced: Another version was indexed in the middle; what came out is not all.
        """
        if document.indexed_version is None:
            raise NotSearchable(document.id, document.status)
        joiner, known = Joiner(), 0
        while known < document.chunk_count:
            chunks = await Chunk.of_version(
                document.id, document.indexed_version, after=known - 1, limit=CHUNKS_AT_ONCE
            )
            if not chunks:
                raise VersionReplaced(document.id)
            known += len(chunks)
            yield "".join(joiner.joined(chunks))


def _in_memory(content: bytes) -> BinaryIO:
    """A file without a name or a disk."""
    file = os.fdopen(os.memfd_create("content"), "w+b")
    file.write(content)
    file.seek(0)
    return file
