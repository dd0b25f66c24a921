"""What clients are told when something breaks beneath a request."""

from __future__ import annotations

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from tortoise.exceptions import DBConnectionError

from app.api.errors import register_error_handlers


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(),
        TimeoutError(),
        DBConnectionError("closed"),
        asyncpg.ConnectionDoesNotExistError("closed in the middle of operation"),
        asyncpg.AdminShutdownError("terminating connection"),
        asyncpg.InterfaceError("the connection is closed"),
        # asyncpg's words for a connection that was ended between two statements.
        asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_database_connection_that_breaks_is_503_and_worth_another_try(error: Exception) -> None:
    app = FastAPI()
    register_error_handlers(app)

    @app.get("/")
    async def broken() -> None:
        raise error

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://sluice") as client:
        answer = await client.get("/")

    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    assert int(answer.headers["retry-after"]) > 0
