"""`GET /metrics` of a real server: with keys, with clients that stay, and without its database."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.api.metrics import ANSWER_WITHIN_S
from app.core.config import Settings
from app.core.database import migrate
from app.embedded import EmbeddedPostgres
from tests.processes import api_process, eventually

KEY = "the-key-of-this-server"


@pytest.fixture(scope="module")
def postgres(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    folder = tmp_path_factory.mktemp("postgres")
    with EmbeddedPostgres(folder, settings={"fsync": "off"}) as server:
        asyncio.run(migrate(settings.model_copy(update={"DATABASE_URL": server.url})))
        yield server


@pytest.fixture(scope="module")
def api(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("api")
    environment = {"DATABASE_URL": postgres.url, "STORAGE_URL": f"file://{folder}/content", "API_KEYS": KEY}
    with (
        api_process(environment, folder / "log") as process,
        httpx.Client(base_url=process.url, trust_env=False, timeout=30) as client,
    ):
        client.headers["authorization"] = f"Bearer {KEY}"
        yield client


def scraped(api: httpx.Client) -> dict[str, float]:
    """Values by their names and routes, other labels summed, no buckets; and how long the answer took."""
    answer = api.get("/metrics")
    assert answer.status_code == 200
    values = {"seconds": answer.elapsed.total_seconds()}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            if "le" not in sample.labels:
                name = sample.name.removeprefix("sluice_") + sample.labels.get("route", "")
                values[name] = values.get(name, 0) + sample.value
    return values


def without_database(many: list[dict[str, float]]) -> list[dict[str, float]]:
    """The answers, once all of them know: what was seen a moment before may be told for another."""
    return many if not any(values["database_up"] for values in many) else []


@contextmanager
def stopped(postgres: EmbeddedPostgres) -> Iterator[None]:
    """All its processes stand still: connections stay, and nothing is answered."""
    assert postgres.pid is not None
    children = Path(f"/proc/{postgres.pid}/task/{postgres.pid}/children").read_text().split()
    pids = [postgres.pid, *map(int, children)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in reversed(pids):
            os.kill(pid, signal.SIGCONT)


def test_it_asks_for_a_key_where_everything_does(api: httpx.Client) -> None:
    answer = httpx.get(f"{api.base_url}/metrics", trust_env=False)

    assert answer.status_code == 401
    before = scraped(api)["http_requests_total" + "none"]
    httpx.get(f"{api.base_url}/documents", trust_env=False)
    assert scraped(api)["http_requests_total" + "none"] == before + 1  # Refused, and counted all the same.


def test_those_who_listen_or_wait_are_told_and_spoil_no_duration(api: httpx.Client) -> None:
    document = api.post("/ingest", json={"text": "The upper gate opens at six."}).json()["document_id"]
    with ThreadPoolExecutor(1) as pool, api.stream("GET", "/events") as stream:
        lines = stream.iter_lines()  # Kept, as the stream goes with them.
        assert next(lines)
        waiting = pool.submit(api.get, f"/documents/{document}", params={"wait": 1})
        eventually(lambda: scraped(api)["event_listeners"] == 2)
        assert scraped(api)["http_requests_in_progress"] == 3
        assert waiting.result().status_code == 200
        values = scraped(api)

    assert values["http_request_duration_seconds_count/events"] == 1
    assert values["http_request_duration_seconds_sum/events"] < 0.9
    assert values["http_request_duration_seconds_count/documents/{document_id}"] == 1
    assert values["http_request_duration_seconds_sum/documents/{document_id}"] < 0.9
    eventually(lambda: scraped(api)["event_listeners"] == 0)


def test_a_body_that_comes_slowly_is_the_clients_own_time(api: httpx.Client) -> None:
    before = scraped(api)

    def slowly() -> Iterator[bytes]:
        yield b'{"text": "The lower'
        time.sleep(1)  # What is measured.
        yield b' gate opens at seven."}'

    answer = api.post("/ingest", content=slowly(), headers={"content-type": "application/json"})

    assert answer.status_code == 201
    name = "http_request_duration_seconds_sum/ingest"
    assert scraped(api)[name] - before[name] < 0.9


def test_without_its_database_it_answers_in_time_and_says_so(
    api: httpx.Client, postgres: EmbeddedPostgres
) -> None:
    assert scraped(api)["database_up"] == 1
    with stopped(postgres), ThreadPoolExecutor(8) as pool:
        hanging = eventually(lambda: without_database(list(pool.map(scraped, [api] * 8))))
    eventually(lambda: scraped(api)["database_up"] == 1)
    postgres.stop()
    refused = eventually(lambda: without_database([scraped(api)]))

    for values in hanging + refused:
        assert not {"documents", "workers_alive", "chunks"} & values.keys()
        assert values["http_requests_total/ingest"] > 0
        assert values["seconds"] < ANSWER_WITHIN_S + 2
    assert refused[0]["seconds"] < 1

    postgres.restart()
    eventually(lambda: scraped(api).get("documents") == 2)
