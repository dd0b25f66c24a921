"""What a process does while it has enough in hand, and leaves the messages in the queue to others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from app.jobs.lanes import LANES, Lanes
from app.services.leases import Leases
from app.services.load import Load

#: How often a small document may overtake the files that wait for room.
OVERTAKING_S = 0.5

#: How long they wait for it, before a process that has none takes one more.
LONGEST_WAIT_S = 30.0


async def overtake(
    leases: Leases,
    load: Load,
    lanes: Lanes,
    *,
    work_on_small: Callable[[], Awaitable[object]],
    work_on_next: Callable[[], Awaitable[object]],
) -> None:
    """Let small documents go before files that wait for room, and no file wait without end; until cancelled.

    Args:
        leases, load: Of this process.
        lanes: Where the documents are worked on; their owner waits for them when the process stops.
        work_on_small: Takes the next small document in hand, to its end, if one is due.
        work_on_next: The same with whichever is next.
    """
    full_since = time.monotonic()
    while True:
        await leases.wait_for_work()
        await asyncio.sleep(OVERTAKING_S)
        now = time.monotonic()
        if load.has_room():
            full_since = now
        elif now - full_since >= LONGEST_WAIT_S and load.files() < LANES and lanes.free:
            lanes.open(work_on_next())
            full_since = now
        elif lanes.free:
            lanes.open(work_on_small())
