"""The servers that all tests share: real ones, embedded, on ports of their own.

They are started before any test module is imported, because importing the queue reads REDIS_URL.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from app.core.config import Settings, get_settings
from app.core.database import database, migrate
from app.core.logging import configure_logging
from app.embedded import EmbeddedPostgres, EmbeddedValkey

if TYPE_CHECKING:
    from fastapi import FastAPI

    from tests.object_server import ObjectServer

_open = ExitStack()


def pytest_sessionstart(session: pytest.Session) -> None:
    if session.config.getoption("dist") != "no":
        return  # The tests run in processes below this one, each with servers of its own.
    folder = Path(_open.enter_context(tempfile.TemporaryDirectory(prefix="sluice-tests-")))
    postgres = _open.enter_context(EmbeddedPostgres(folder / "postgres", settings={"fsync": "off"}))
    valkey = _open.enter_context(EmbeddedValkey(folder / "valkey"))
    os.environ |= {
        "DATABASE_URL": postgres.url,
        "REDIS_URL": valkey.url,
        "STORAGE_URL": f"file://{folder / 'content'}",
        "EMBEDDER": "hash",
        # Retries in tests take milliseconds; which of them wait, and for how long, has tests of its own.
        "RETRY_BACKOFF_S": "0.2",
        "SWEEP_S": "0.5",
    }
    get_settings.cache_clear()
    configure_logging("INFO", "json")


def pytest_sessionfinish() -> None:
    _open.close()


@pytest.fixture(scope="session")
def settings() -> Settings:
    """Of this test session: its own database, queue and storage."""
    return get_settings()


@pytest.fixture(scope="session")
def migrated(settings: Settings) -> None:
    """The session's database has its tables, and is the home of the embedder that tests use."""

    async def prepare() -> None:
        await migrate(settings)
        # Imported only now: models and all that they bring are the tests' own affair.
        from app.embedding.hash import HashEmbedder
        from app.models.vector_space import VectorSpace

        embedder = HashEmbedder()
        async with database(settings):
            await VectorSpace.adopt("hash", embedder.model, embedder.dimensions)

    asyncio.run(prepare())


@pytest.fixture(scope="session")
def object_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    """An object store that speaks S3, for all tests that want one."""
    # Imported only now: most test runs need none.
    from tests.object_server import ObjectServer

    with ObjectServer(tmp_path_factory.mktemp("objects")) as server:
        yield server


@pytest.fixture
def limits() -> dict[str, Any]:
    """Settings that a test wants different."""
    return {}


@pytest.fixture
async def app(
    settings: Settings, limits: dict[str, Any], migrated: None, tmp_path: Path
) -> AsyncIterator[FastAPI]:
    # Imported only now: the queue, which comes with the API, reads REDIS_URL.
    from app.main import create_app
    from tests.support import emptied_database

    app = create_app(settings.model_copy(update={"STORAGE_URL": f"file://{tmp_path}", **limits}))
    async with app.router.lifespan_context(app):
        await emptied_database()
        yield app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://sluice") as client:
        yield client
