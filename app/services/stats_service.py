"""How the whole service is just now."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

import structlog

from app.core.database import database_error
from app.core.tasks import end
from app.models import figures, watch, workers
from app.models.document_status import DocumentStatus
from app.models.figures import Minute, Queue, Storage
from app.models.watch import Watch
from app.models.workers import Alive

log = structlog.get_logger(__name__)

T = TypeVar("T")

#: How old an answer may be: however many people look, the database is asked so often and no more.
COUNTS_AGE_S = 1.0
#: Sizes take a look at every document, and nobody sees them change.
STORAGE_AGE_S = 30.0
#: A look that failed is not repeated for so long.
FAILURE_AGE_S = 1.0

#: How old it may be for who cannot wait: among very many documents, a look takes longer.
KNOWN_FOR_S = 60.0


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts, the queue, the last hour, and who works."""

    documents: Mapping[DocumentStatus, int]
    queue: Queue
    throughput: Sequence[Minute]
    workers: Sequence[Alive]


@dataclass(frozen=True, slots=True)
class Stats:
    """The same, and what takes space."""

    documents: Mapping[DocumentStatus, int]
    queue: Queue
    throughput: Sequence[Minute]
    workers: Sequence[Alive]
    storage: Storage


@dataclass(frozen=True, slots=True)
class Glance:
    """What can be told at once; None for what could not be found out in time."""

    is_writable: bool | None  # None: the database has not answered.
    counts: Counts | None = None
    watch: Watch | None = None
    storage: Storage | None = None


class StatsService:
    """Looks for everybody at once, and remembers it for a moment."""

    def __init__(self) -> None:
        self._is_writable = _Remembered(figures.is_writable, COUNTS_AGE_S)
        self._counts = _Remembered(_count, COUNTS_AGE_S)
        self._watch = _Remembered(watch.look, COUNTS_AGE_S)
        self._storage = _Remembered(figures.storage, STORAGE_AGE_S)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for each in (self._is_writable, self._counts, self._watch, self._storage):
            await each.close()

    async def now(self) -> Stats:
        """As it is, or was a moment ago."""
        found = await self._counts.get()
        return Stats(found.documents, found.queue, found.throughput, found.workers, await self._storage.get())

    async def by_status(self) -> Mapping[DocumentStatus, int]:
        """How many documents are in each status."""
        return (await self._counts.get()).documents

    async def glance(self, *, within_s: float) -> Glance:
        """What can be told within that time, for who must be answered in any case; it never fails.

        Looks that take longer go on, one of each kind at a time, and are there for the next glance.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_s
        # One after the other: those who look must not take four connections from those who work.
        is_writable = await self._is_writable.latest(within_s, known_for_s=0)
        if is_writable is None:
            return Glance(None)
        return Glance(
            is_writable,
            await self._counts.latest(deadline - loop.time()),
            await self._watch.latest(deadline - loop.time()),
            await self._storage.latest(deadline - loop.time()),
        )


async def _count() -> Counts:
    # One after the other, for the same reason.
    return Counts(
        await figures.by_status(),
        await figures.queue(),
        await figures.throughput(),
        await workers.alive(),
    )


class _Remembered(Generic[T]):
    """What `look` found, until it is too old; those who ask meanwhile wait for the same look."""

    def __init__(self, look: Callable[[], Awaitable[T]], age_s: float) -> None:
        self._look = look
        self._age_s = age_s
        self._looking: asyncio.Task[None] | None = None
        self._looked_at = 0.0
        self._found: tuple[float, T] | None = None
        self._failed: Exception | None = None

    async def get(self) -> T:
        """What is found.

        Raises:
            What `look` raises; it is remembered, too, for a moment.
        """
        await asyncio.shield(self._under_way())
        if self._failed is not None:
            raise self._failed
        assert self._found is not None
        return self._found[1]

    async def latest(self, within_s: float, *, known_for_s: float = KNOWN_FOR_S) -> T | None:
        """What is found within that time, or else was found not too long ago; None after a failure."""
        looked, _ = await asyncio.wait({self._under_way()}, timeout=max(within_s, 0))
        if self._failed is not None or self._found is None:
            return None
        found_at, found = self._found
        return found if looked or time.monotonic() - found_at <= known_for_s else None

    async def close(self) -> None:
        """Look no more."""
        if self._looking is not None:
            await end(self._looking)

    def _under_way(self) -> asyncio.Task[None]:
        """The look that is going on; the last one, while what came of it counts; or else a new one."""
        age_s = self._age_s if self._failed is None else FAILURE_AGE_S
        if self._looking is None or (self._looking.done() and time.monotonic() - self._looked_at > age_s):
            self._looking = asyncio.create_task(self._take_a_look(), name="look")
        return self._looking

    async def _take_a_look(self) -> None:
        try:
            found = await self._look()
        except Exception as error:
            log.warning("stats_unreadable", error=str(error), exc_info=database_error(error) is None)
            self._failed = error
        else:
            self._failed = None
            self._found = (time.monotonic(), found)
        finally:
            self._looked_at = time.monotonic()  # Its age counts from now: a look may take long.
