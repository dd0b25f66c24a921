"""Lets others see that this worker is alive, also while it has nothing to do and so no lease."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from app.core.database import BROKEN
from app.core.tasks import end
from app.models import workers

log = structlog.get_logger(__name__)


@asynccontextmanager
async def seen_alive(name: str, *, every_s: float, for_s: float) -> AsyncIterator[None]:
    """Say that this worker is alive, at every beat of the block, and then that it is gone.

    Who dies without the last word is taken for alive until the one before has run out.
    """
    saying = asyncio.create_task(_say(name, every_s, for_s), name="presence")
    try:
        yield
    finally:
        await end(saying)
        try:
            await workers.say_gone(name)
        except Exception as error:  # It runs out by itself, and whoever stops has more to close.
            log.warning("presence_failed", error=str(error) or type(error).__name__)


async def _say(name: str, every_s: float, for_s: float) -> None:
    while True:
        try:
            await workers.say_alive(name, for_s=for_s)
        except BROKEN as error:  # The work itself tells it louder.
            log.warning("database_unreachable", error=str(error) or type(error).__name__)
        except Exception:
            log.exception("presence_failed")
        await asyncio.sleep(every_s)
