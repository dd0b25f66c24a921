"""How the whole service is just now."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from app.models import figures, workers
from app.models.document_status import DocumentStatus
from app.models.figures import Minute, Queue, Storage
from app.models.workers import Alive

T = TypeVar("T")

#: How old an answer may be: however many people look, the database is asked so often and no more.
COUNTS_AGE_S = 1.0
#: Sizes take a look at every document, and nobody sees them change.
STORAGE_AGE_S = 30.0


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts, the queue, the last hour, who works, and what takes space."""

    documents: Mapping[DocumentStatus, int]
    queue: Queue
    throughput: Sequence[Minute]
    workers: Sequence[Alive]
    storage: Storage


class StatsService:
    """Looks for everybody at once, and remembers it for a moment."""

    def __init__(self) -> None:
        self._counts = _Remembered(_look, COUNTS_AGE_S)
        self._storage = _Remembered(figures.storage, STORAGE_AGE_S)

    async def now(self) -> Stats:
        """As it is, or was a moment ago."""
        documents, queue, throughput, alive = await self._counts.get()
        return Stats(documents, queue, throughput, alive, await self._storage.get())

    async def by_status(self) -> Mapping[DocumentStatus, int]:
        """How many documents are in each status."""
        return (await self._counts.get())[0]


async def _look() -> tuple[Mapping[DocumentStatus, int], Queue, Sequence[Minute], Sequence[Alive]]:
    # One after the other: those who look must not take four connections from those who work.
    return (
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
        self._lock = asyncio.Lock()
        self._found: tuple[float, T] | None = None

    async def get(self) -> T:
        async with self._lock:
            if self._found is None or time.monotonic() - self._found[0] > self._age_s:
                found = await self._look()
                self._found = (time.monotonic(), found)  # Its age counts from now: a look may take long.
            return self._found[1]
