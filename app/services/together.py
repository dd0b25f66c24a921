"""What the documents that a process has in hand ask of the database at the same time, asked once for all."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, islice
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
DOCUMENTS = 64

#: So many wait for no others to share a commit with.
ENOUGH = 16

#: Those that end after a document may wait for each other for this part of the time it took; up to that.
LINGER = 0.25
LINGER_AT_MOST_S = 0.25


class Together:
    """The reads and the commits of one worker process."""

    def __init__(self) -> None:
        self._stored = 0
        self._contents = Grouped(DocumentContent.read, at_most=DOCUMENTS, is_shared=_is_shared)
        self._collections = Grouped(Collection.named, at_most=DOCUMENTS, is_shared=_is_shared)
        self._completions = Grouped(
            _complete, at_most=DOCUMENTS, weigh=len, is_shared=_is_shared, linger_s=_worth_waiting
        )

    async def content(self, document_id: UUID) -> bytes | None:
        """A document's content, if the database has it."""
        return await self._contents(document_id)

    async def collection(self, name: str) -> Collection:
        """The collection of a document."""
        return await self._collections(name)

    async def complete(self, document: Document, ingested: Ingested) -> bool:
        """`Document.complete`, in company where there is some."""
        if len(ingested.chunks) > SMALL_CHUNKS:
            self._stored += 1
            return await document.complete(ingested)
        (is_completed,) = await self.complete_all([Done(document, ingested)])
        return is_completed

    async def complete_all(self, done: Sequence[Done]) -> Sequence[bool]:
        """The same for several small ones, all or none; at least one, at most `DOCUMENTS`."""
        self._stored += len(done)
        if len(done) >= ENOUGH:
            return await complete(done)  # Beside other commits, on a connection of its own.
        return await self._completions(done)

    def stored(self) -> int:
        """How many documents this process has stored, or tried to."""
        return self._stored


async def _complete(calls: Sequence[Sequence[Done]]) -> list[list[bool]]:
    results = iter(await complete(list(chain.from_iterable(calls))))
    return [list(islice(results, len(call))) for call in calls]


def _worth_waiting(done: Sequence[Done]) -> float:
    """A slow model ends documents by twos and threes: a little longer, and they share a commit."""
    return min(LINGER * done[0].document.seconds_in_hand, LINGER_AT_MOST_S)


def _is_shared(error: Exception) -> bool:
    return database_error(error) is not None
