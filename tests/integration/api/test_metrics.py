"""`GET /metrics` as Prometheus reads it: the service, this process, and nothing that grows without bound."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from app import __version__
from app.errors import NoText
from app.models import acceptance, workers
from app.models.acceptance import NewDocument
from app.models.document import Document
from app.models.sql import fetch
from app.services import stats_service
from tests.support import indexed

DOCS = Path(__file__).parents[3] / "docs/metrics.md"

Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def families(text: str) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(text)}


async def scraped(client: httpx.AsyncClient) -> Samples:
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families(answer.text).values()
        for sample in family.samples
    }


def of(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((f"sluice_{name}", frozenset(labels.items())))


numbers = count(1)


async def accepted() -> Document:
    new = NewDocument(sha256=f"{next(numbers):064d}", size_bytes=4, media_type="text/plain", content=b"gate")
    return await Document.get(id=(await acceptance.accept(new)).document_id)


async def claimed(*, lease_s: float = 30) -> Document:
    document = await Document.claim((await accepted()).id, owner="host:1", lease_s=lease_s)
    assert document is not None
    return document


async def test_the_service_is_told_as_it_is(client: httpx.AsyncClient) -> None:
    await indexed((await accepted()).id, "The upper gate opens at six in the morning.")
    await (await claimed()).fail(NoText())
    await (await claimed()).hand_back()
    await (await claimed()).release(ConnectionError(), backoff_s=60)
    await claimed()
    await claimed(lease_s=0.001)
    await workers.say_alive("host:2", for_s=30)
    await fetch(
        "UPDATE documents SET next_attempt_at = now() - interval '90 s' WHERE stage = 'queued' RETURNING id"
    )

    samples = await scraped(client)

    assert of(samples, "database_up") == 1
    statuses = {"PENDING": 2, "PROCESSING": 2, "COMPLETED": 1, "FAILED": 1}
    assert {each: of(samples, "documents", status=each) for each in statuses} == statuses
    assert of(samples, "documents_waiting") == 2
    assert of(samples, "documents_due") == 1
    assert of(samples, "documents_oldest_due_age_seconds") == pytest.approx(90, abs=5)
    assert of(samples, "documents_held") == 1
    assert of(samples, "documents_lease_expired") == 1
    assert of(samples, "workers_alive") == 2  # The second one has said so, the first has a lease that holds.
    assert of(samples, "documents_failed_last_15m") == 1
    outcomes = {"completed": 1, "failed": 2, "interrupted": 1, "worker_lost": 0}
    assert {each: of(samples, "attempts_ended_last_15m", outcome=each) for each in outcomes} == outcomes
    assert of(samples, "content_bytes") == 6 * 4
    assert of(samples, "chunks") == 1
    assert (of(samples, "database_size_bytes") or 0) > 1_000_000


async def test_what_ended_long_ago_is_no_news(client: httpx.AsyncClient) -> None:
    await (await claimed()).fail(NoText())
    await fetch("UPDATE attempts SET ended_at = now() - interval '16 minutes' RETURNING id")

    samples = await scraped(client)

    assert of(samples, "documents_failed_last_15m") == 0
    assert of(samples, "attempts_ended_last_15m", outcome="failed") == 0
    assert of(samples, "documents", status="FAILED") == 1


@pytest.fixture
async def no_webhooks(app: FastAPI) -> AsyncIterator[None]:
    """Before the test, and after it."""
    for table in ("webhook_deliveries", "webhooks"):
        await fetch(f"DELETE FROM {table} RETURNING id")
    yield
    for table in ("webhook_deliveries", "webhooks"):
        await fetch(f"DELETE FROM {table} RETURNING id")


async def test_webhooks_that_are_late_have_given_up_or_are_disabled_are_told(
    client: httpx.AsyncClient, no_webhooks: None
) -> None:
    rows = await fetch(
        """
        INSERT INTO webhooks (url, secret, disabled_at, disabled_reason) VALUES
            ('https://one.example', '', NULL, NULL),
            ('https://two.example', '', now(), 'It was switched off.'),
            ('https://three.example', '', now(), '20 attempts have failed.') RETURNING id
        """
    )
    await fetch(
        """
        INSERT INTO webhook_deliveries (webhook_id, status, next_attempt_at, ended_at) VALUES
            ($1, 'PENDING', now() - interval '700 s', NULL), ($1, 'PENDING', now() + interval '1 h', NULL),
            ($2, 'PENDING', now() - interval '1 h', NULL), ($1, 'FAILED', now(), now() - interval '1 minute'),
            ($1, 'FAILED', now(), now() - interval '1 h'), ($1, 'DELIVERED', now(), now()) RETURNING id
        """,
        rows[0]["id"],
        rows[1]["id"],
    )

    samples = await scraped(client)

    assert of(samples, "webhook_deliveries_due") == 1
    assert of(samples, "webhook_deliveries_oldest_due_age_seconds") == pytest.approx(700, abs=5)
    assert of(samples, "webhook_deliveries_failed_last_15m") == 1
    assert of(samples, "webhooks_disabled") == 1


async def test_the_process_tells_its_version_its_requests_and_itself(client: httpx.AsyncClient) -> None:
    created = await client.post("/ingest", json={"text": "The upper gate opens at six."})
    assert created.status_code == 201

    samples = await scraped(client)

    assert of(samples, "build_info", version=__version__) == 1
    assert of(samples, "http_requests_total", method="POST", route="/ingest", status_class="2xx") == 1
    assert of(samples, "http_requests_in_progress") == 1  # The scrape.
    assert of(samples, "messages_unsent_total") == 0
    assert samples["process_open_fds", frozenset()] > 0
    assert ("python_gc_collections_total", frozenset({("generation", "0")})) in samples


async def test_no_path_no_id_and_no_method_makes_a_series_of_its_own(client: httpx.AsyncClient) -> None:
    async def ask() -> None:
        for method, path in (
            ("GET", f"/documents/{uuid4()}"),
            ("GET", f"/{uuid4()}"),
            ("GET", f"/ui/documents/{uuid4()}"),
            ("GET", f"/assets/{uuid4()}"),
            ("POST", f"/documents/{uuid4()}"),
            ("DELETE", f"/collections/{uuid4()}"),
            (uuid4().hex.upper(), "/documents"),
            (uuid4().hex.upper(), f"/{uuid4()}"),
        ):
            await client.request(method, path)

    await ask()
    await scraped(client)
    seen = set(await scraped(client))
    for _ in range(5):
        await ask()

    assert {each for each in set(await scraped(client)) ^ seen if each[0].startswith("sluice_http")} == set()
    text = (await client.get("/metrics")).text
    assert not re.search(r'route="[^"]*[0-9a-f]{8}', text)


async def test_however_often_it_is_asked_the_database_is_asked_once_in_a_second(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stats_service, "time", SimpleNamespace(monotonic=lambda: 100.0))  # Nothing ages.
    await scraped(client)
    await accepted()

    assert of(await scraped(client), "documents", status="PENDING") == 0


@pytest.mark.parametrize(
    "accept", ["", "text/plain;version=0.0.4", "application/openmetrics-text;version=1.0.0"]
)
async def test_it_speaks_the_format_that_is_asked_for(client: httpx.AsyncClient, accept: str) -> None:
    answer = await client.get("/metrics", headers={"accept": accept})

    is_open = "openmetrics" in accept
    assert answer.headers["content-type"].startswith(
        "application/openmetrics-text; version=1.0.0" if is_open else "text/plain; version=0.0.4"
    )
    parse: Any = openmetrics.text_string_to_metric_families if is_open else text_string_to_metric_families
    parsed = list(parse(answer.text))
    assert all(family.documentation for family in parsed)
    assert "sluice_documents" in {family.name for family in parsed}


async def test_only_what_is_asked_for_by_name_is_told(client: httpx.AsyncClient) -> None:
    answer = await client.get("/metrics", params={"name[]": ["sluice_documents", "process_open_fds"]})

    assert families(answer.text).keys() == {"sluice_documents", "process_open_fds"}


async def test_every_metric_is_explained_and_nothing_else_is(client: httpx.AsyncClient) -> None:
    text = (await client.get("/metrics")).text
    text += (await client.get("/metrics")).text  # The first one has counted itself only at its end.
    told = {match[1]: match[2] for match in re.finditer(r"^# TYPE (\S+) (\w+)$", text, re.M)}

    rows = re.findall(r"^\| `((?:sluice|process|python)_\w+)`[^|]*\| (\w+) \|", DOCS.read_text(), re.M)

    assert dict(rows) == told
    assert len(rows) == len(told)
