"""How much a worker process has before it: whether it should take more in hand, or leave that to others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

from app.embedding.protocol import Embedder
from app.models.document import Document, Stage
from app.services.pace import Pace

#: So much embedding before it is enough for a process: what it takes beyond that waits longer than it must.
ENOUGH_S = 1.0

#: Chunks a second, before any have been seen to be embedded.
FIRST_PACE = 150.0

#: A model that embeds fewer in a second, in this process, is what documents wait for.
FAST = 1000.0

#: What a file counts for that nobody has read yet.
UNREAD_CHUNKS = 64

#: When it is known what a file holds.
READ = (Stage.EMBEDDING, Stage.STORING)


class Load:
    """Reckons in seconds of a model's work in this process, and in files that nobody has read yet.

    Args of the constructor:
        in_hand: The documents that this process has; called by any thread.
        readers: How many files are read at the same time. One that waits for its turn may hold anything.
    """

    def __init__(self, in_hand: Callable[[], Sequence[Document]], *, readers: int) -> None:
        self._in_hand = in_hand
        self._readers = readers
        self._pace = Pace(FIRST_PACE)
        self._has_embedded = False
        self._claimed = 0
        self._before_model: dict[tuple[UUID, int], Document] = {}

    @contextmanager
    def before(self, embedder: Embedder, *documents: Document) -> Iterator[None]:
        """In the block, count what of the documents is not embedded yet, if that is work for this process."""
        if not embedder.computes_here:
            yield  # Several calls at once are as fast as one.
            return
        # A document may be here twice for a moment: its attempt that was given up does not know it yet.
        waiting = {(document.id, document.attempt): document for document in documents}
        self._before_model |= waiting
        try:
            yield
        finally:
            for attempt in waiting:
                del self._before_model[attempt]

    @contextmanager
    def embedding(self, embedder: Embedder, chunks: int) -> Iterator[None]:
        """Notes how fast chunks are embedded in this process, by any number of blocks at once."""
        if not embedder.computes_here:
            yield
            return
        with self._pace.under_way():
            yield
            self._pace.ended(chunks)
            self._has_embedded = True

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """In the block, a message is worked on of which it is known what it brought."""
        self._claimed += 1
        try:
            yield
        finally:
            self._claimed -= 1

    def has_room(self, messages: int = 0) -> bool:
        """Whether this process should take more in hand; for any thread to ask.

        Args:
            messages: How many it has fetched that are not done. Those of which nothing is known yet may each
                bring a file.
        """
        unread = max(messages - self._claimed, 0)
        unread += sum(is_file(document) and document.stage not in READ for document in self._in_hand())
        chunks = sum(
            (document.progress_total or 0) - (document.progress_done or 0)
            for document in tuple(self._before_model.values())
        )
        waiting = chunks + unread * UNREAD_CHUNKS
        # Without anything before it, always: a model that fails for a while has no pace at all.
        return unread < self._readers and (not waiting or waiting < self._pace.per_s * ENOUGH_S)

    def is_model_slow(self) -> bool:
        """Whether embedding in this process takes longer than all else, by what has been seen of it."""
        return self._has_embedded and self._pace.per_s < FAST

    def files(self) -> int:
        """How many of those in hand are files."""
        return sum(map(is_file, self._in_hand()))


def is_file(document: Document) -> bool:
    """Whether its content may be large: it is not in the database."""
    return document.content_key is not None
