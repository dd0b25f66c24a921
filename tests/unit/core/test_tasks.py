"""Tasks that are told to stop stop, also those that do not hear it at first."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from app.core.tasks import end


async def deaf(times: int) -> None:
    """Goes on after so many cancellations."""
    for _ in range(times):
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
    await asyncio.Event().wait()


async def test_a_task_is_told_until_it_has_ended() -> None:
    task = asyncio.create_task(deaf(2))
    await asyncio.sleep(0)
    await end(task)
    assert task.cancelled()


async def test_who_ends_a_task_ends_it_also_when_he_is_ended_himself() -> None:
    inner = asyncio.create_task(deaf(3))

    async def owning() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await end(inner)

    outer = asyncio.create_task(owning())
    await asyncio.sleep(0)
    await end(outer)
    assert inner.cancelled()
    assert outer.cancelled()
