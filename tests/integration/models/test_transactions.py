"""Transactions that cannot begin, and what their task can do afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import asyncpg
import pytest

from app.core.config import Settings
from app.core.database import database
from app.models.sql import fetch, transaction


@pytest.fixture(autouse=True)
async def opened(settings: Settings, migrated: None) -> AsyncIterator[None]:
    async with database(settings.model_copy(update={"DATABASE_POOL_SIZE": 2})):
        yield


@pytest.fixture
def no_begin(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each BEGIN fails while there is something in the list."""
    failing = ["once"]
    execute = asyncpg.Connection.execute

    async def refused(self: asyncpg.Connection, query: str, *values: Any, **named: Any) -> str:
        if query.startswith("BEGIN") and failing:
            raise asyncpg.ConnectionDoesNotExistError("ended by the server")
        return await execute(self, query, *values, **named)

    monkeypatch.setattr(asyncpg.Connection, "execute", refused)
    return failing


async def test_after_a_transaction_that_could_not_begin_the_task_goes_on(no_begin: list[str]) -> None:
    for _ in range(5):  # More often than the pool has connections.
        with pytest.raises(asyncpg.ConnectionDoesNotExistError):
            async with transaction():
                raise AssertionError("it has not begun")
    no_begin.clear()

    assert await fetch("SELECT 1 AS one") == [{"one": 1}]
    async with transaction():
        await fetch("SELECT pg_advisory_xact_lock(1)")
    rows = await fetch("SELECT count(*) AS held FROM pg_locks WHERE locktype = 'advisory'")
    assert rows == [{"held": 0}]


async def test_what_fails_in_a_transaction_is_taken_back() -> None:
    with pytest.raises(ValueError, match="no"):
        async with transaction() as db:
            await fetch("CREATE TABLE taken_back (n int)", db=db)
            async with transaction():
                await fetch("INSERT INTO taken_back VALUES (1)")
            raise ValueError("no")

    assert await fetch("SELECT to_regclass('taken_back') AS it") == [{"it": None}]


async def test_a_task_that_is_stopped_in_a_transaction_has_its_connection_no_more() -> None:
    async def work() -> None:
        with suppress(asyncio.CancelledError):
            async with transaction() as db:
                await fetch("SELECT pg_sleep(0.001)", db=db)
        assert await fetch("SELECT 1 AS one") == [{"one": 1}]  # As who hands back what he had in hand.

    for number in range(300):
        working = asyncio.create_task(work())
        await asyncio.sleep(number * 0.00001)
        working.cancel()
        with suppress(asyncio.CancelledError):  # It came to the second statement, or was not there yet.
            await working
