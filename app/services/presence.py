"""Lets others see that this worker is alive, with or without work in hand, and when it has died."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import asyncpg
import structlog

from app.core.database import BROKEN
from app.core.tasks import end
from app.models import workers

log = structlog.get_logger(__name__)

#: After so long a lifeline is tied again that could not be: well before others give its worker up.
AGAIN_S = 0.5

Connect = Callable[[], Awaitable[asyncpg.Connection]]


class _Pooled(Exception):
    """A pooler is in between: its connections end when it wants them to, not with this process."""


@asynccontextmanager
async def seen_alive(name: str, connect: Connect, *, every_s: float, for_s: float) -> AsyncIterator[None]:
    """Say that this worker is alive, at every beat of the block, and then that it is gone.

    Who dies without the last word is taken for alive until the lifeline is found torn, or, without one, until
    the word before has run out.

    Args:
        name: The worker's, which no other process ever has.
        connect: Opens a connection outside the pool.
        every_s: Seconds from one beat to the next.
        for_s: Seconds that each is good for.
    """
    saying = asyncio.create_task(_say(name, connect, every_s, for_s), name="presence")
    try:
        yield
    finally:
        await end(saying)
        try:
            await workers.say_gone(name)
        except Exception as error:  # It runs out by itself, and whoever stops has more to close.
            log.warning("presence_failed", error=str(error) or type(error).__name__)


async def _say(name: str, connect: Connect, every_s: float, for_s: float) -> None:
    is_told = False
    while True:
        again_s = min(AGAIN_S, every_s)
        try:
            await _say_until_torn(name, connect, every_s, for_s)
            is_told = False
            continue
        except (*BROKEN, asyncpg.PostgresError) as error:
            reason = str(error) or type(error).__name__
        except _Pooled:
            reason, again_s = "a pooler is between this worker and its database", every_s
        except Exception as error:
            log.exception("presence_failed")
            reason = str(error) or type(error).__name__
        if not is_told:
            log.warning("lifeline_failed", error=reason)
        is_told = True
        with suppress(Exception):  # Without one: whether the worker lives, its leases alone will tell.
            await workers.say_alive(name, for_s=for_s)
        await asyncio.sleep(again_s)


async def _say_until_torn(name: str, connect: Connect, every_s: float, for_s: float) -> None:
    """Return when the lifeline's connection has ended.

    Raises:
        _Pooled: It is not a connection of this process alone.
        OSError, asyncpg.PostgresError, asyncpg.InterfaceError: There is none to be had.
    """
    torn = asyncio.Event()
    key = secrets.randbits(62)
    connection = await connect()
    try:
        connection.add_termination_listener(lambda _: torn.set())
        backend = await workers.tie(connection, key)
        while not torn.is_set():
            heard_by = await workers.say_alive(name, for_s=for_s, key=key, connection=connection)
            if heard_by != backend:
                raise _Pooled
            with suppress(TimeoutError):
                await asyncio.wait_for(torn.wait(), every_s)
    finally:
        connection.terminate()
