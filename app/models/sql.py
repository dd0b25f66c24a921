"""Statements and transactions of our own, where an ORM's do not reach."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from tortoise import connections
from tortoise.connection import get_connections
from tortoise.transactions import in_transaction


async def fetch(query: str, *values: object, db: Any = None) -> list[dict[str, Any]]:
    """Run a statement on `db`, else in the transaction that the caller is in, else by itself."""
    return await (db or connections.get("default")).execute_query_dict(query, list(values))  # type: ignore[no-any-return]


def escaped(text: str) -> str:
    """The text for LIKE, with nothing in it that means something there."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


@asynccontextmanager
async def transaction() -> AsyncIterator[Any]:
    """Tortoise's transaction, for all that the block asks of the database; nested, a savepoint.

    When its BEGIN fails, as it does on a connection that the server has ended, Tortoise keeps the connection
    and goes on taking it for the caller's transaction: every later statement of the task would fail too.
    """
    context: Any = in_transaction()
    try:
        try:
            db = await context.__aenter__()
        except BaseException:
            if hasattr(context, "token"):
                with suppress(Exception):
                    await context.client._parent._pool.release(context.client._connection)
            raise
        try:
            yield db
        except BaseException as error:
            try:
                await context.__aexit__(type(error), error, error.__traceback__)
            except Exception as broken:
                if isinstance(error, asyncio.CancelledError):
                    raise error from broken  # Who was told to stop stops, whatever the connection says.
                raise
            raise
        await context.__aexit__(None, None, None)
    finally:
        _let_go_of(context)


def _let_go_of(context: Any) -> None:
    """Tortoise does it itself, the last thing of all: not when it is cancelled before."""
    if hasattr(context, "token"):
        with suppress(ValueError, RuntimeError):  # It was done.
            get_connections().reset(context.token)
