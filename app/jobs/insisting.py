"""Writing down how an attempt ended, whatever the database does just then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from app.core.database import database_error

log = structlog.get_logger(__name__)

T = TypeVar("T")

#: How long a worker tries, while the database restarts. When the lease has run out, others take the document
#: over, and nothing of ours is written any more.
INSIST_S = 15
INSIST_EVERY_S = 0.5


async def insist(move: Callable[[], Awaitable[T]]) -> T:
    """Make a move although the database is restarting just now. The fence makes it safe to try it twice.

    Raises:
        DatabaseUnavailable, DatabaseBusy, DatabaseFull: It has been like that for too long.
    """
    give_up_at = time.monotonic() + INSIST_S
    while True:
        try:
            return await move()
        except Exception as error:
            away = database_error(error)
            if away is None:
                raise
            if time.monotonic() > give_up_at:
                raise away from error
            log.warning(away.code, error=str(error) or type(error).__name__)
        await asyncio.sleep(INSIST_EVERY_S)
