"""Documents and real worker processes, and what happens when something breaks between them."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import asyncpg
import pytest

from app.core.config import Settings
from app.core.database import database, migrate
from app.core.queue import broker
from app.jobs.ingestion_job import process_ingestion
from app.models import acceptance
from app.models.acceptance import NewDocument
from app.models.chunk import CHUNKS_PER_COPY, Chunk
from app.models.document import Document
from tests.processes import EmbeddingService, WorkerProcess, eventually, worker_process

T = TypeVar("T")

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
ONE_PROCESS = ("--processes", "1")


@pytest.fixture
def own_settings(settings: Settings, migrated: None) -> Iterator[Settings]:
    """A database that no other test's workers look at; the queue is emptied."""

    async def run(statement: str) -> None:
        connection = await asyncpg.connect(settings.DATABASE_URL)
        await connection.execute(statement)
        await connection.close()

    base, _, _ = settings.DATABASE_URL.rpartition("/")
    asyncio.run(run("DROP DATABASE IF EXISTS of_a_worker WITH (FORCE)"))
    asyncio.run(run("CREATE DATABASE of_a_worker"))
    broker.flush_all()
    own = settings.model_copy(update={"DATABASE_URL": f"{base}/of_a_worker"})
    asyncio.run(migrate(own))
    yield own
    broker.flush_all()


@pytest.fixture
def environment(own_settings: Settings) -> dict[str, str]:
    return {"DATABASE_URL": own_settings.DATABASE_URL}


@pytest.fixture
def ask(own_settings: Settings) -> Callable[[Callable[[], Coroutine[None, None, T]]], T]:
    """Runs a coroutine with the database open."""

    def run(work: Callable[[], Coroutine[None, None, T]]) -> T:
        async def opened() -> T:
            async with database(own_settings):
                return await work()

        return asyncio.run(opened())

    return run


@pytest.fixture
def service() -> Iterator[EmbeddingService]:
    with EmbeddingService().serving() as service:
        yield service


def new(number: int = 0) -> NewDocument:
    text = f"Gate {number} opens at six in the morning."
    return NewDocument(
        sha256=f"{number:064d}", size_bytes=len(text), media_type="text/plain", content=text.encode()
    )


async def accept(number: int = 0) -> UUID:
    return (await acceptance.accept(new(number))).document_id


def in_status(ask: Callable[..., T], document_id: UUID, *statuses: str) -> Callable[[], Document | None]:
    async def look() -> Document | None:
        document = await Document.get(id=document_id)
        return document if document.status in statuses else None

    return lambda: ask(look)  # type: ignore[return-value]


def test_documents_that_are_sent_are_completed_with_their_chunks(environment, ask, tmp_path) -> None:
    ids = [ask(lambda n=n: accept(n)) for n in range(20)]
    with worker_process(environment, tmp_path / "log") as worker:
        for document_id in ids:
            process_ingestion.send(str(document_id))
        eventually(lambda: ask(lambda: Document.filter(status="COMPLETED").count()) == len(ids))

        assert ask(lambda: Chunk.all().count()) == len(ids)
    assert "document_completed" in worker.log
    assert "attempt_failed" not in worker.log


def test_a_long_document_says_that_it_is_being_stored_and_how_much_there_is(
    environment, ask, tmp_path
) -> None:
    text = b"The upper gate opens at six. " * 100_000
    document_id = ask(
        lambda: acceptance.accept(replace(new(), content=text, size_bytes=len(text)))
    ).document_id

    async def storing() -> Document | None:
        document = await Document.get(id=document_id)
        assert document.status not in {"COMPLETED", "FAILED"}, "it is not told that it is being stored"
        return document if document.stage == "storing" else None

    with worker_process(environment, tmp_path / "log", *ONE_PROCESS):
        process_ingestion.send(str(document_id))
        told = eventually(lambda: ask(storing))
        assert (told.progress_unit, told.progress_done) == ("chunks", 0)
        completed = eventually(in_status(ask, document_id, "COMPLETED"))
        assert completed.chunk_count == told.progress_total > CHUNKS_PER_COPY


def test_a_document_whose_message_was_never_sent_is_found(environment, ask, tmp_path) -> None:
    async def accept_and_die() -> UUID:
        document_id = await accept()
        await Document.filter(id=document_id).update(sent_at=LONG_AGO)
        return document_id

    document_id = ask(accept_and_die)
    with worker_process(environment, tmp_path / "log", *ONE_PROCESS):
        eventually(in_status(ask, document_id, "COMPLETED"))


def test_a_transient_failure_is_retried_five_times_and_each_time_the_work_is_done_again(
    environment, ask, service, tmp_path
) -> None:
    service.behave = lambda: 500
    document_id = ask(accept)
    with worker_process(
        {**environment, **service.environment, "RETRY_BACKOFF_S": "0.05"}, tmp_path / "log", *ONE_PROCESS
    ) as worker:
        process_ingestion.send(str(document_id))
        failed = eventually(in_status(ask, document_id, "FAILED"), within_s=150)

    assert (failed.attempt, failed.failures) == (6, 6)
    assert failed.error["code"] == "embedder_unavailable"
    assert len(failed.processing_errors.splitlines()) == 6
    assert (worker.log.count("attempt_failed"), worker.log.count("document_failed")) == (5, 1)
    assert "Traceback" not in worker.log
    assert len(service.requests) >= 6


def test_a_service_that_recovers_is_no_failure_in_the_end(environment, ask, service, tmp_path) -> None:
    answers = iter([500] * 4 + [200] * 100)
    service.behave = lambda: next(answers)
    document_id = ask(accept)
    with worker_process(
        {**environment, **service.environment, "RETRY_BACKOFF_S": "0.05"}, tmp_path / "log", *ONE_PROCESS
    ):
        process_ingestion.send(str(document_id))
        completed = eventually(in_status(ask, document_id, "COMPLETED"), within_s=60)

    assert completed.processing_errors is None


@pytest.mark.parametrize("times", [1, 3])
def test_sigterm_hands_back_what_is_in_hand_without_counting_a_failure(
    environment, ask, service, tmp_path, times
) -> None:
    document_id = ask(accept)
    options = {**environment, **service.environment, "SHUTDOWN_GRACE_S": "0.2"}
    with service.holding_back(), worker_process(options, tmp_path / "log", *ONE_PROCESS) as worker:
        process_ingestion.send(str(document_id))
        eventually(lambda: service.under_way)
        for _ in range(1, times):  # To the whole group, as some service managers do; the master passes it on.
            os.killpg(worker.process.pid, signal.SIGTERM)
        assert worker.stop() == 0
    document = ask(lambda: Document.get(id=document_id))
    assert (document.status, document.failures, document.attempt) == ("PENDING", 0, 1)
    assert "document_handed_back" in worker.log

    with worker_process({**environment, **service.environment}, tmp_path / "log2", *ONE_PROCESS):
        again = eventually(in_status(ask, document_id, "COMPLETED"))
    assert (again.attempt, again.failures) == (2, 0)


def test_a_killed_workers_document_is_taken_over_long_before_its_lease_runs_out(
    environment, ask, service, tmp_path
) -> None:
    document_id = ask(accept)
    options = {**environment, **service.environment, "LEASE_S": "3600", "SWEEP_S": "0.5"}
    with service.holding_back(), worker_process(options, tmp_path / "log", *ONE_PROCESS) as worker:
        process_ingestion.send(str(document_id))
        eventually(lambda: service.under_way)
        below = worker.children()
        worker.stop(signal.SIGKILL)
        # The master is dead; the worker process and its parsers must not live on without it.
        eventually(lambda: not [pid for pid in below if Path(f"/proc/{pid}").exists()])

    with worker_process(options, tmp_path / "log2", *ONE_PROCESS):
        eventually(in_status(ask, document_id, "COMPLETED"))


def test_several_documents_are_in_hand_at_once(environment, ask, service, tmp_path) -> None:
    def count(status: str) -> int:
        return ask(lambda: Document.filter(status=status).count())

    ids = [ask(lambda n=n: accept(n)) for n in range(8)]
    options = {**environment, **service.environment}
    with service.holding_back() as let_go, worker_process(options, tmp_path / "log", *ONE_PROCESS):
        for document_id in ids:
            process_ingestion.send(str(document_id))
        eventually(lambda: count("PROCESSING") == 8)
        let_go.set()
        eventually(lambda: count("COMPLETED") == 8)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (
            {"DATABASE_URL": "postgres://sluice@127.0.0.1:1/none"},
            "The database at DATABASE_URL cannot be reached",
        ),
        ({"EMBEDDER": "minilm", "MODEL_CACHE_DIR": "/proc/none"}, "MODEL_CACHE_DIR"),
        ({"BEAT_S": "soon"}, "BEAT_S"),
    ],
    ids=["database", "model", "setting"],
)
def test_a_worker_that_cannot_boot_ends_with_the_reason(
    environment, ask, tmp_path, broken: dict[str, str], reason: str
) -> None:
    worker = WorkerProcess({**environment, **broken}, tmp_path / "log", *ONE_PROCESS)
    try:
        assert worker.process.wait(40) != 0
    finally:
        worker.stop()
    assert reason in worker.log


def test_a_worker_and_its_parsers_stand_back_for_those_who_search(environment, tmp_path) -> None:
    nice = {"WORKER_NICENESS": "3"}
    with worker_process(environment | nice, tmp_path / "log", *ONE_PROCESS) as worker:
        (pid,) = {int(pid) for pid in re.findall(r"worker_started .*worker=\S+:(\d+):", worker.log)}
        threads = Path(f"/proc/{pid}/task").iterdir()
        parsers = [int(below) for thread in threads for below in (thread / "children").read_text().split()]

        stand_back = {each: os.getpriority(os.PRIO_PROCESS, each) for each in (pid, *parsers)}
    assert parsers
    assert set(stand_back.values()) == {os.getpriority(os.PRIO_PROCESS, 0) + 3}


def test_a_malformed_message_harms_nobody(environment, ask, settings: Settings, tmp_path) -> None:
    document_id = ask(accept)
    with worker_process(environment, tmp_path / "log", *ONE_PROCESS):
        process_ingestion.send("not an id")
        process_ingestion.send(str(document_id))
        eventually(in_status(ask, document_id, "COMPLETED"))
