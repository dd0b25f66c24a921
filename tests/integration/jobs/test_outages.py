"""A worker process outlives the queue and the database, and makes good what was missed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import pytest
import redis

from app.core.config import Settings
from app.core.database import database, migrate
from app.embedded import EmbeddedPostgres, EmbeddedValkey
from app.models import acceptance, backlog
from app.models.acceptance import NewDocument
from app.models.document import Document
from tests.processes import eventually, worker_process

T = TypeVar("T")


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey(tmp_path / "valkey") as server:
        yield server


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path / "postgres", settings={"fsync": "off"}) as server:
        yield server


@pytest.fixture
def own_settings(settings: Settings, valkey: EmbeddedValkey, postgres: EmbeddedPostgres) -> Settings:
    own = settings.model_copy(update={"DATABASE_URL": postgres.url, "REDIS_URL": valkey.url})
    asyncio.run(migrate(own))
    return own


@pytest.fixture
def environment(own_settings: Settings) -> dict[str, str]:
    return {"DATABASE_URL": own_settings.DATABASE_URL, "REDIS_URL": own_settings.REDIS_URL}


def ask(settings: Settings, work: Callable[[], Coroutine[None, None, T]]) -> T:
    async def opened() -> T:
        async with database(settings):
            return await work()

    return asyncio.run(opened())


async def accepted_without_message(number: int = 1) -> UUID:
    """As the API leaves a document that it cannot send."""
    new = NewDocument(sha256=f"{number:064d}", size_bytes=4, media_type="text/plain", content=b"gate")
    document_id = (await acceptance.accept(new)).document_id
    await backlog.put_back_unsent([document_id])
    return document_id


def is_completed(settings: Settings, document_id: UUID) -> bool:
    return ask(settings, lambda: Document.filter(id=document_id, status="COMPLETED").exists())


def test_documents_accepted_while_redis_is_away_are_ingested_without_it(
    own_settings: Settings, environment: dict[str, str], valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    with worker_process(environment, tmp_path / "log", "--processes", "1") as worker:
        valkey.stop()
        document_id = ask(own_settings, accepted_without_message)
        eventually(lambda: is_completed(own_settings, document_id), within_s=30)
        assert "queue_unreachable" in worker.log
        valkey.restart()
        document_id = ask(own_settings, lambda: accepted_without_message(2))
        eventually(lambda: is_completed(own_settings, document_id), within_s=30)
        eventually(lambda: "queue_was_empty" in worker.log or "sent_again" in worker.log)


def test_a_queue_that_stands_still_or_is_full_keeps_no_document_waiting(
    own_settings: Settings, environment: dict[str, str], valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    with worker_process(environment, tmp_path / "log", "--processes", "1"):
        assert valkey.pid is not None
        os.kill(valkey.pid, signal.SIGSTOP)
        try:
            document_id = ask(own_settings, accepted_without_message)
            eventually(lambda: is_completed(own_settings, document_id), within_s=30)
        finally:
            os.kill(valkey.pid, signal.SIGCONT)

        with redis.Redis.from_url(valkey.url) as client:
            client.config_set("maxmemory", 1)
        document_id = ask(own_settings, lambda: accepted_without_message(2))
        eventually(lambda: is_completed(own_settings, document_id), within_s=30)


def test_a_worker_goes_on_when_the_database_is_back(
    own_settings: Settings, environment: dict[str, str], postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    with worker_process(environment, tmp_path / "log", "--processes", "1") as worker:
        postgres.stop()
        eventually(lambda: "database_unreachable" in worker.log)
        postgres.restart()
        document_id = ask(own_settings, accepted_without_message)
        eventually(lambda: is_completed(own_settings, document_id), within_s=30)
    assert "sweep_failed" not in worker.log
