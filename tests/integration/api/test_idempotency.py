"""The same request again, with and without an `Idempotency-Key`, one after the other and all at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from unittest.mock import MagicMock, patch

import httpx
import pytest
from fastapi import FastAPI
from tortoise import connections

from app.jobs.ingestion_job import process_ingestion
from app.models.document import Document
from app.models.idempotency_key import IdempotencyKey

TEXT = "The upper gate opens at six in the morning."
KEY = {"Idempotency-Key": "6f1c-42"}


@pytest.fixture(autouse=True)
def send() -> Iterator[MagicMock]:
    with patch.object(process_ingestion, "send") as send:
        yield send


@pytest.fixture(autouse=True)
async def no_keys(app: FastAPI) -> None:
    await IdempotencyKey.all().delete()


async def post(client: httpx.AsyncClient, text: str = TEXT, **fields: object) -> httpx.Response:
    return await client.post("/ingest", json={"text": text, **fields}, headers=KEY)


async def test_the_same_key_gets_the_same_answer_whatever_became_of_the_document(
    client: httpx.AsyncClient, send: MagicMock
) -> None:
    first = await post(client)
    document_id = first.json()["document_id"]
    await Document.cancel(document_id)
    again = await post(client)
    await client.delete(first.headers["location"])
    last = await post(client)

    for answer in (again, last):
        assert (answer.status_code, answer.json()) == (201, first.json())
        assert answer.headers["location"] == first.headers["location"]
    assert send.call_count == 1
    assert not await Document.exists()


async def test_the_same_key_with_another_request_is_refused_and_changes_nothing(
    client: httpx.AsyncClient,
) -> None:
    await post(client)
    for other in ({"text": TEXT + "!"}, {"title": "Gates"}, {"collection": "b"}, {"metadata": {"a": 1}}):
        answer = await post(client, **other)
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")

    assert await Document.all().count() == 1


async def test_a_request_that_was_refused_does_not_use_its_key_up(client: httpx.AsyncClient) -> None:
    assert (await post(client, " ")).status_code == 422
    assert (await post(client)).status_code == 201


@pytest.mark.parametrize("key", ["", "x" * 256, "käse"])
async def test_a_key_that_cannot_be_kept_is_refused(client: httpx.AsyncClient, key: str) -> None:
    headers = {"Idempotency-Key": key.encode()}
    answer = await client.post("/ingest", json={"text": TEXT}, headers=headers)

    assert answer.status_code == 422
    assert not await Document.exists()


@pytest.mark.parametrize("limits", [{"INLINE_CONTENT_BYTES": 64}])
async def test_a_file_that_came_again_is_not_kept_twice(client: httpx.AsyncClient, app: FastAPI) -> None:
    for content, status in ((TEXT * 99, 201), (TEXT * 99, 201), (TEXT * 98, 422)):
        files = {"file": ("gates.txt", content.encode())}
        assert (await client.post("/ingest", files=files, headers=KEY)).status_code == status

    root = app.state.resources.store.root
    assert len([file for file in root.rglob("*") if file.is_file()]) == 1


async def test_a_known_external_id_makes_a_version_once_for_each_key(client: httpx.AsyncClient) -> None:
    await client.post("/ingest", json={"text": "old", "external_id": "it"})
    for _ in range(3):
        assert (await post(client, external_id="it")).status_code == 201

    assert (await Document.get()).version == 2


async def test_a_hundred_equal_requests_with_one_key_are_one_document_and_one_answer(
    client: httpx.AsyncClient, send: MagicMock
) -> None:
    answers = await asyncio.gather(*(post(client) for _ in range(100)))

    assert {(answer.status_code, answer.text) for answer in answers} == {(201, answers[0].text)}
    assert await Document.all().count() == 1
    assert send.call_count == 1


async def test_of_different_requests_with_one_key_at_once_one_is_accepted(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(post(client, f"{TEXT} {n}") for n in range(30)))

    assert Counter(answer.status_code for answer in answers) == {201: 1, 422: 29}
    assert await Document.all().count() == 1


async def test_a_hundred_equal_requests_without_a_key_are_one_document(
    client: httpx.AsyncClient, send: MagicMock
) -> None:
    asked = [client.post("/ingest", json={"text": TEXT}) for _ in range(100)]
    answers = await asyncio.gather(*asked)

    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: 99}
    assert len({answer.json()["document_id"] for answer in answers}) == 1
    assert await Document.all().count() == 1
    assert send.call_count == 1


async def test_a_hundred_updates_at_once_are_one_document_with_the_last_of_them(
    client: httpx.AsyncClient,
) -> None:
    asked = [client.post("/ingest", json={"text": f"{TEXT} {n}", "external_id": "it"}) for n in range(100)]
    answers = await asyncio.gather(*asked)

    assert {answer.status_code for answer in answers} == {201}
    document = await Document.get()
    assert (document.version, document.status) == (100, "PENDING")
    rows = await connections.get("default").execute_query_dict("SELECT count(*) FROM document_contents")
    assert rows[0]["count"] == 1


async def test_equal_bytes_under_two_external_ids_are_two_documents(client: httpx.AsyncClient) -> None:
    first = await client.post("/ingest", json={"text": TEXT, "external_id": "a"})
    second = await client.post("/ingest", json={"text": TEXT, "external_id": "b"})
    third = await client.post("/ingest", json={"text": TEXT})

    assert {first.status_code, second.status_code, third.status_code} == {201}
    assert len({answer.json()["document_id"] for answer in (first, second, third)}) == 3


async def test_keys_are_forgotten_after_their_time(client: httpx.AsyncClient) -> None:
    await post(client)
    assert await IdempotencyKey.remove_old(older_than_s=3600, limit=10) == 0
    assert await IdempotencyKey.remove_old(older_than_s=0, limit=10) == 1

    assert (await post(client)).status_code == 200  # The document is known; the key is not any more.
