"""What the documents that a process has in hand ask of the database at the same time, asked once for all."""

from __future__ import annotations

from uuid import UUID

from app.core.database import database_error
from app.models.collection import Collection
from app.models.completion import Done, Ingested, complete
from app.models.document import Document
from app.models.document_content import DocumentContent
from app.services.grouping import Grouped

#: Documents with more chunks are stored by themselves: others are not to wait for them.
SMALL_CHUNKS = 64

#: What one statement reads, and one transaction stores, at the most.
DOCUMENTS = 32

#: Those that end after a document may wait for each other for this part of the time it took; up to that.
LINGER = 0.1
LINGER_AT_MOST_S = 0.1


class Together:
    """The reads and the commits of one worker process."""

    def __init__(self) -> None:
        self._stored = 0
        self._contents = Grouped(DocumentContent.read, at_most=DOCUMENTS, is_shared=_is_shared)
        self._collections = Grouped(Collection.named, at_most=DOCUMENTS, is_shared=_is_shared)
        self._completions = Grouped(
            complete, at_most=DOCUMENTS, is_shared=_is_shared, linger_s=_worth_waiting
        )

    async def content(self, document_id: UUID) -> bytes | None:
        """A document's content, if the database has it."""
        return await self._contents(document_id)

    async def collection(self, name: str) -> Collection:
        """The collection of a document."""
        return await self._collections(name)

    async def complete(self, document: Document, ingested: Ingested) -> bool:
        """`Document.complete`, in company where there is some."""
        self._stored += 1
        if len(ingested.chunks) > SMALL_CHUNKS:
            return await document.complete(ingested)
        return await self._completions(Done(document, ingested))

    def stored(self) -> int:
        """How many documents this process has stored, or tried to."""
        return self._stored


def _worth_waiting(done: Done) -> float:
    """A slow model ends documents by twos and threes: a little longer, and they share a commit."""
    return min(LINGER * done.document.seconds_in_hand, LINGER_AT_MOST_S)


def _is_shared(error: Exception) -> bool:
    return database_error(error) is not None
