"""Lets others see that this worker is alive, with or without work in hand, and when it has died."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import asyncpg
import structlog

from app.core.tasks import end
from app.models import workers

log = structlog.get_logger(__name__)

#: How often it is looked whether the lifeline holds, and how long its server may take to say so. With the two
#: below, another one is tied, or said to be missing, before others give this worker up (reconciler.MISSED_S).
LOOK_S = 1
LIFELINE_TIMEOUT_S = 2

#: What saying that there is none may take: the connections of the pool may all be in use, or lost too.
SAYING_S = 1

#: When there is none to be had, how soon it is tried again.
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
        connect: Opens a connection outside the pool; `LIFELINE_TIMEOUT_S` for all that it is asked.
        every_s: Seconds from one beat to the next.
        for_s: Seconds that each is good for.
    """
    saying = asyncio.create_task(_Presence(name, connect, every_s, for_s).say(), name="presence")
    try:
        yield
    finally:
        await end(saying)
        try:
            await workers.say_gone(name)
        except Exception as error:  # It runs out by itself, and whoever stops has more to close.
            log.warning("presence_failed", error=str(error) or type(error).__name__)


class _Presence:
    def __init__(self, name: str, connect: Connect, every_s: float, for_s: float) -> None:
        self._name = name
        self._connect = connect
        self._every_s = every_s
        self._for_s = for_s
        self._is_told = False  # That there is no lifeline.

    async def say(self) -> None:
        """Until cancelled."""
        while True:
            # First of all, since the row still has the lifeline that was torn.
            await self._say_without_lifeline()
            try:
                await self._say_until_torn()
                continue
            except _Pooled:
                self._tell("a pooler is between this worker and its database")
                again_s = self._every_s
            except Exception as error:
                self._tell(str(error) or type(error).__name__)
                again_s = AGAIN_S
            await asyncio.sleep(min(again_s, self._every_s))

    async def _say_without_lifeline(self) -> None:
        """Whether this worker lives, its leases alone will tell."""
        with suppress(Exception):
            async with asyncio.timeout(SAYING_S):
                await workers.say_alive(self._name, for_s=self._for_s)

    async def _say_until_torn(self) -> None:
        """Return when the lifeline's connection has ended.

        Raises:
            _Pooled: It is not a connection of this process alone.
            OSError, asyncpg.PostgresError, asyncpg.InterfaceError: There is none to be had, or it is silent.
        """
        torn = asyncio.Event()
        key = secrets.randbits(62)
        connection = await self._connect()
        try:
            connection.add_termination_listener(lambda _: torn.set())
            # A pooler has to invent what it calls its server process.
            if await connection.fetchval("SELECT pg_backend_pid()") != connection.get_server_pid():
                raise _Pooled
            await workers.tie(connection, key)
            self._is_told = False
            while not torn.is_set():
                await workers.say_alive(self._name, for_s=self._for_s, key=key, connection=connection)
                await self._look(connection, torn)
        finally:
            connection.terminate()

    async def _look(self, connection: asyncpg.Connection, torn: asyncio.Event) -> None:
        """Return when the next beat is due, or the connection has ended.

        One whose server is gone without a word would not be known to have ended before it is used.
        """
        due_at = time.monotonic() + self._every_s
        while not torn.is_set() and (left_s := due_at - time.monotonic()) > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(torn.wait(), min(LOOK_S, left_s))
                return
            await connection.execute("SELECT")

    def _tell(self, reason: str) -> None:
        if not self._is_told:
            log.warning("lifeline_failed", error=reason)
        self._is_told = True
