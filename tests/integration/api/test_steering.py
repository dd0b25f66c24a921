"""Attempts, cancel, retry one and many, and delete, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from unittest.mock import MagicMock, patch
from uuid import uuid4

import httpx
import pytest

from app.errors import EmbedderUnavailable, NoText
from app.jobs.ingestion_job import process_ingestion
from app.models.document import Document, Ingested

DONE = Ingested(space_id=1, media_type="text/plain", title=None, warnings=[], chunks=[])


@pytest.fixture(autouse=True)
def send() -> Iterator[MagicMock]:
    with patch.object(process_ingestion, "send") as send:
        yield send


async def posted(client: httpx.AsyncClient, text: str = "gates", **fields: str) -> str:
    answer = await client.post("/ingest", json={"text": text, **fields})
    assert answer.status_code == 201
    return str(answer.json()["document_id"])


async def claimed(document_id: str) -> Document:
    document = await Document.claim(document_id, owner="host:1", lease_s=30)
    assert document is not None
    return document


async def failed(client: httpx.AsyncClient, text: str, error: Exception, **fields: str) -> str:
    document_id = await posted(client, text, **fields)
    assert await (await claimed(document_id)).fail(error)
    return document_id


async def test_attempts_tell_who_when_how_far_and_what_came_of_it(client: httpx.AsyncClient) -> None:
    document_id = await posted(client)
    url = f"/documents/{document_id}/attempts"
    assert (await client.get(url)).json() == {"attempts": []}

    await (await claimed(document_id)).hand_back()
    await (await claimed(document_id)).fail(NoText())
    await client.post(f"/documents/{document_id}/retry")
    await claimed(document_id)

    interrupted, failing, running = (await client.get(url)).json()["attempts"]
    assert [interrupted["attempt"], failing["attempt"], running["attempt"]] == [1, 2, 3]
    assert [interrupted["outcome"], failing["outcome"], running["outcome"]] == ["interrupted", "failed", None]
    assert failing["error"]["code"] == "no_text"
    assert failing["error"]["hint"]
    assert failing["worker"] == "host:1"
    assert failing["started_at"] <= failing["ended_at"]
    assert running["ended_at"] is None


async def test_attempts_of_a_document_that_is_not_there_are_404(client: httpx.AsyncClient) -> None:
    assert (await client.get(f"/documents/{uuid4()}/attempts")).status_code == 404


async def test_failed_documents_are_queued_again_by_a_filter_and_that_can_be_repeated(
    client: httpx.AsyncClient,
) -> None:
    scan = await failed(client, "a", NoText())
    away = [await failed(client, f"b{n}", EmbedderUnavailable("429"), collection="x") for n in range(3)]
    asked = {"codes": ["embedder_unavailable"], "collection": "x"}

    first = await client.post("/documents/retry", json={**asked, "limit": 2})
    second = await client.post("/documents/retry", json=asked)
    third = await client.post("/documents/retry", json=asked)

    assert first.json() == {"retried": 2, "has_more": True}
    assert second.json() == {"retried": 1, "has_more": False}
    assert third.json() == {"retried": 0, "has_more": False}
    assert (await Document.get(id=scan)).status == "FAILED"
    assert await Document.filter(id__in=away, status="PENDING", failures=0).count() == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "FAILED"},
        {"limit": 0},
        {"codes": []},
        {"document_ids": ["x"]},
        {"failed_after": "yesterday"},
    ],
)
async def test_a_filter_that_is_not_understood_is_refused(client: httpx.AsyncClient, wrong: dict) -> None:
    document_id = await failed(client, "a", NoText())

    answer = await client.post("/documents/retry", json=wrong)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].startswith(f"/{next(iter(wrong))}")
    assert (await Document.get(id=document_id)).status == "FAILED"


@pytest.mark.parametrize("status", ["PENDING", "PROCESSING", "COMPLETED", "FAILED"])
@pytest.mark.parametrize("call", ["cancel", "retry", "delete"])
async def test_each_call_can_be_repeated_in_any_status_and_the_worker_then_writes_nothing(
    client: httpx.AsyncClient, status: str, call: str
) -> None:
    document_id = await posted(client)
    held = await claimed(document_id) if status != "PENDING" else None
    if status == "COMPLETED" and held:
        await held.complete(DONE)
    if status == "FAILED" and held:
        await held.fail(NoText())

    url = f"/documents/{document_id}"
    if call == "delete":
        assert [(await client.delete(url)).status_code for _ in range(2)] == [204, 404]
        assert held is None or not await held.complete(DONE)
        assert (await client.get(url)).status_code == 404
        return
    answers = [await client.post(f"{url}/{call}") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    before, after = (answer.json() for answer in answers)
    assert before == after
    expected = {
        ("cancel", "PENDING"): "FAILED",
        ("cancel", "PROCESSING"): "FAILED",
        ("retry", "FAILED"): "PENDING",
    }
    assert after["status"] == expected.get((call, status), status)
    if call == "cancel" and held:
        assert not await held.complete(DONE)


async def test_posting_a_failed_document_again_queues_it_again(
    client: httpx.AsyncClient, send: MagicMock
) -> None:
    document_id = await failed(client, "gates", NoText())
    send.reset_mock()

    again = await client.post("/ingest", json={"text": "gates"})

    assert (again.status_code, again.json()) == (200, {"document_id": document_id, "status": "PENDING"})
    send.assert_called_once_with(document_id)


async def test_a_retry_that_waits_says_until_when(client: httpx.AsyncClient) -> None:
    document_id = await posted(client)
    await (await claimed(document_id)).release(EmbedderUnavailable("429"), backoff_s=60)

    waiting = (await client.get(f"/documents/{document_id}")).json()

    assert (waiting["status"], waiting["stage"], waiting["failures"]) == ("PENDING", "retry_wait", 1)
    assert waiting["next_attempt_at"] > waiting["updated_at"]
    assert waiting["processing_errors"].endswith(
        "embedder_unavailable: The embedding service cannot be reached: 429"
    )
