"""Keeps what this process holds, and stops the work on what it has lost."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from uuid import UUID

import asyncpg
import structlog

from app.core.tasks import end
from app.errors import Interrupted, LeaseLost, ServiceError
from app.models.document import Document

log = structlog.get_logger(__name__)

#: How often progress that changed is written down between two beats.
PROGRESS_S = 0.5


@dataclass(eq=False, slots=True)
class _Work:
    """On one document, or on several at once."""

    task: asyncio.Task[None] | None  # None: it is not to be stopped.
    wanted: int  # How many of them there are still to work on.
    verdict: ServiceError | None = None

    def stop_one(self, verdict: ServiceError) -> None:
        """Cancel the work when none is left; `Leases.held` turns the cancellation into `verdict`."""
        self.wanted -= 1
        if self.wanted == 0 and self.task is not None:
            self.verdict = verdict
            self.task.cancel()


@dataclass(eq=False, slots=True)
class _Held:
    document: Document
    work: _Work
    written: tuple[object, ...]
    is_stopped: bool = False

    def stop(self, verdict: ServiceError) -> None:
        """This one is not to be worked on any more. May be called twice."""
        if not self.is_stopped:
            self.is_stopped = True
            self.work.stop_one(verdict)


class Leases:
    """The leases of one process: one beat, one statement, one connection of its own for all of them.

    The connection is not of the pool, so that a beat never waits behind the work it protects.
    """

    def __init__(
        self, connect: Callable[[], Awaitable[asyncpg.Connection]], *, lease_s: float, beat_s: float
    ) -> None:
        self._connect = connect
        self._lease_s = lease_s
        self._beat_s = beat_s
        self._held: set[_Held] = set()
        self._connection: asyncpg.Connection | None = None
        self._renewed_at = time.monotonic()
        self._task: asyncio.Task[None] | None = None
        self._renewing = asyncio.Lock()
        self.is_stopping = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._busy = asyncio.Event()

    async def __aenter__(self) -> Leases:
        self._task = asyncio.create_task(self._beat_for_ever(), name="leases")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            await end(self._task)
        self._disconnect()

    @asynccontextmanager
    async def held(self, *documents: Document) -> AsyncIterator[None]:
        """Keep the leases of claimed documents while the block runs, their commit included.

        Of several, the block goes on while any is left: what it does for a lost one, the fence refuses.

        Raises:
            LeaseLost: Somebody else has the documents; the block was cancelled.
            Interrupted: The process stops; the block was cancelled.
        """
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("A lease is held by a task")
        with self._renewed(documents, task) as work:
            try:
                if self.is_stopping:
                    raise Interrupted
                yield
            except (Exception, asyncio.CancelledError):
                if work.verdict is None:
                    raise
                task.uncancel()  # Which may have become another error on its way here: the verdict stands.
                raise work.verdict from None

    @contextmanager
    def renewed(self, *documents: Document) -> Iterator[None]:
        """Keep the leases of claimed documents while the block runs, and let it come to its end in any case.

        It is for what must not be cancelled; whoever works on them next holds them, and learns what became
        of them.
        """
        with self._renewed(documents, None):
            yield

    @contextmanager
    def _renewed(self, documents: Sequence[Document], task: asyncio.Task[None] | None) -> Iterator[_Work]:
        work = _Work(task, len(documents))
        held = [_Held(document, work, _progress(document)) for document in documents]
        if not self._held:
            self._renewed_at = time.monotonic()  # The claim was the first beat.
        self._held.update(held)
        self._idle.clear()
        self._busy.set()
        try:
            yield work
        finally:
            # First of all, so that no beat can find it any more, nor cancel what comes after the work.
            self._held.difference_update(held)
            if not self._held:
                self._idle.set()
                self._busy.clear()

    def documents(self) -> list[Document]:
        """All that this process has in hand; for any thread to ask."""
        return [held.document for held in tuple(self._held)]

    async def write_down(self, document: Document) -> None:
        """Write the progress of a document that is held now, in place of with the next beat.

        While its chunks are stored its row is locked, and says what it said before.
        """
        await self._renew([held for held in self._held if held.document is document])

    async def wait_for_work(self) -> None:
        """Return as soon as this process has anything in hand."""
        await self._busy.wait()

    async def drain(self, grace_s: float) -> None:
        """Let what is in hand finish for `grace_s` seconds, then interrupt the rest; take nothing new."""
        self.is_stopping = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), grace_s)
        for held in tuple(self._held):
            held.stop(Interrupted())

    async def _beat_for_ever(self) -> None:
        while True:
            await self.wait_for_work()
            await asyncio.sleep(min(PROGRESS_S, self._beat_s / 4))
            try:
                await self._beat()
            except Exception:  # Without the beats, everything in hand would be lost.
                log.exception("beat_failed")
            self._stop_what_ran_out()

    async def _beat(self) -> None:
        began_at = time.monotonic()
        is_due = began_at - self._renewed_at >= self._beat_s
        news = [held for held in self._held if is_due or held.written != _progress(held.document)]
        if not news:
            return
        ours = await self._renew(news)
        if ours is None:
            return
        if is_due:
            self._renewed_at = began_at
        for held in self._held.intersection(news):
            if (held.document.id, held.document.attempt) not in ours and not held.is_stopped:
                log.warning("lease_lost", document_id=str(held.document.id), attempt=held.document.attempt)
                held.stop(LeaseLost("Somebody else has the document now."))

    async def _renew(self, news: list[_Held]) -> set[tuple[UUID, int]] | None:
        async with self._renewing:
            return await self._renew_locked(news)

    async def _renew_locked(self, news: list[_Held]) -> set[tuple[UUID, int]] | None:
        try:
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._connect()
            for held in news:
                held.written = _progress(held.document)
            return await Document.beat(
                self._connection, [held.document for held in news], lease_s=self._lease_s
            )
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            log.warning("beat_failed", error=str(error) or type(error).__name__, held=len(self._held))
            self._disconnect()
            return None

    def _stop_what_ran_out(self) -> None:
        """With the database out of reach for a whole lease, others may have taken over: work no further."""
        if self._held and time.monotonic() - self._renewed_at > self._lease_s:
            for held in tuple(self._held):
                held.stop(LeaseLost("The database was out of reach for a whole lease."))

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()


def _progress(document: Document) -> tuple[object, ...]:
    return document.stage, document.progress_unit, document.progress_done, document.progress_total
