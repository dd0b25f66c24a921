"""How a task that runs until it is told to stop is stopped."""

from __future__ import annotations

import asyncio

#: From one cancellation to the next of a task that goes on.
AGAIN_S = 0.1


async def end(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait until it has ended; what it ended with is not raised.

    Telling it once is not enough: before Python 3.12 `asyncio.wait_for` forgets a cancellation that comes in
    the moment in which what it waits for is done, and libraries of ours use it (redis-py while it sends).
    """
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        task.cancel()
        try:
            await asyncio.wait({task}, timeout=AGAIN_S)
        except asyncio.CancelledError as error:
            cancelled = error  # Nobody else would end the task.
    if cancelled is not None:
        raise cancelled
