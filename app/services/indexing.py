"""Makes indexes of vectors that have none yet, beside the work, in one process at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import asyncpg
import structlog

from app.models.vector_parts import build, drop_leftovers, next_plan
from app.models.vector_space import VectorSpace

log = structlog.get_logger(__name__)

# Any number will do, so long as nobody else in the database uses it.
INDEXING_LOCK = 0x51_1C_E5


async def index_fresh(connect: Callable[[], Awaitable[asyncpg.Connection]], *, memory_mb: int) -> None:
    """Index what is worth it, of all spaces; nothing when another process is at it.

    Args:
        connect: Opens a connection: an index cannot be made inside a transaction, and takes a while.
        memory_mb: What a build may use of the database's memory; a part is no larger than fits.
    """
    spaces = [space for space in await VectorSpace.all() if await next_plan(space, memory_mb=memory_mb)]
    if not spaces:
        return
    connection = await connect()
    try:
        with suppress(asyncpg.PostgresError):  # Not every system lets it notice.
            await connection.execute("SET client_connection_check_interval = '1s'")
        if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", INDEXING_LOCK):
            return
        await drop_leftovers(connection)
        for space in spaces:
            while planned := await next_plan(space, memory_mb=memory_mb):
                part = await build(connection, space, planned, memory_mb=memory_mb)
                log.info("vectors_indexed", model=space.model, vectors=part.vectors, index=part.index_name)
    finally:
        connection.terminate()  # With it goes the lock; and, a second later, a build that is under way.
