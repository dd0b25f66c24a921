"""What a call may do, and for how long: made of its key, kept beside the request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog

from app.core.tasks import end
from app.errors import Unauthorized
from app.models.reach import EVERYTHING, Reach
from app.services.key_service import Verdict

log = structlog.get_logger(__name__)


class Access:
    """A call's key.

    Args of the constructor:
        reach: What it opens.
        until: How long that is certain, by the clock of the event loop.
        look: What it opens after that; None when it opens for ever.
    """

    def __init__(
        self,
        reach: Reach,
        *,
        until: float = float("inf"),
        look: Callable[[], Awaitable[Verdict]] | None = None,
    ) -> None:
        self.reach = reach
        self._until = until
        self._look = look
        self._is_open = True

    async def is_open(self) -> bool:
        """Whether the key still opens.

        Raises:
            DatabaseUnavailable, or what the driver raises: That is not certain any more, and cannot be found
                out.
        """
        if self._is_open and self._look is not None and self._left_s() <= 0:
            verdict = await self._look()
            self._until = verdict.until
            self._is_open = verdict.reach is not None
        return self._is_open

    async def require_open(self) -> None:
        """
        Raises:
            Unauthorized: The key has been removed, or has expired, since the call began.
        """
        if not await self.is_open():
            raise Unauthorized(was_given=True)

    @asynccontextmanager
    async def watched(self, closed: Callable[[], None]) -> AsyncIterator[None]:
        """Call `closed` if, while the block lasts, the key opens no more, or nobody can tell."""
        if self._look is None:
            yield
            return
        watching = asyncio.create_task(self._watch(closed), name="key_watched")
        try:
            yield
        finally:
            await end(watching)

    async def _watch(self, closed: Callable[[], None]) -> None:
        try:
            while await self.is_open():
                await self._while_certain()
        except Exception as error:
            log.warning("key_not_checked", error=str(error) or type(error).__name__)
        closed()

    async def _while_certain(self) -> None:
        await asyncio.sleep(self._left_s())

    def _left_s(self) -> float:
        return self._until - asyncio.get_running_loop().time()


#: Of a key in the settings, and of everybody where there is none.
FULL_ACCESS = Access(EVERYTHING)
