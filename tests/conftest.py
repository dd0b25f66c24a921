"""The servers that all tests share: real ones, embedded, on ports of their own.

They are started before any test module is imported, because importing the queue reads REDIS_URL.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.core.config import Settings, get_settings
from app.core.database import migrate
from app.core.logging import configure_logging
from app.embedded import EmbeddedPostgres, EmbeddedValkey

_open = ExitStack()


def pytest_sessionstart() -> None:
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
    """The session's database has its tables."""
    asyncio.run(migrate(settings))
