"""Documents that a process works on without a message."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import structlog

from app.core.database import BROKEN

log = structlog.get_logger(__name__)

#: How many at once: as many as Dramatiq gives a process threads for.
LANES = 8


class Lanes:
    """Pieces of work that run beside each other; one that fails tells the log."""

    def __init__(self) -> None:
        self._lanes: set[asyncio.Task[None]] = set()

    @property
    def free(self) -> int:
        """How many more there may be."""
        return LANES - len(self._lanes)

    def open(self, work: Awaitable[object]) -> None:
        """Begin a piece of work; the caller has looked whether a lane is free."""
        lane = asyncio.create_task(self._told(work))
        self._lanes.add(lane)
        lane.add_done_callback(self._lanes.discard)

    async def close(self) -> None:
        """Wait for all of them."""
        await asyncio.gather(*self._lanes, return_exceptions=True)

    async def _told(self, work: Awaitable[object]) -> None:
        try:
            await work
        except BROKEN as error:
            log.warning("database_unreachable", error=str(error))
        except Exception:
            log.exception("lane_failed")
