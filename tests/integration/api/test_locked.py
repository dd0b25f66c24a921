"""A document that is being stored for minutes holds up whoever wants to change it, and nobody else."""

from __future__ import annotations

import asyncio
from unittest.mock import patch

import asyncpg
import httpx
import pytest

from app.core.config import Settings
from app.core.database import connect
from app.jobs.ingestion_job import process_ingestion
from app.services import resources


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "API_LOCK_TIMEOUT_S", 0.5)


@pytest.fixture
async def worker(settings: Settings):
    connection = await connect(settings)
    yield connection
    await connection.close()


async def test_changes_of_a_locked_document_are_503_and_other_documents_are_accepted(
    client: httpx.AsyncClient, settings: Settings, worker: asyncpg.Connection
) -> None:
    with patch.object(process_ingestion, "send"):
        document = (await client.post("/ingest", json={"text": "a", "external_id": "it"})).json()
        url = f"/documents/{document['document_id']}"
        async with worker.transaction():
            await worker.execute("SELECT FROM documents FOR UPDATE")
            changes = [
                client.post("/ingest", json={"text": "b", "external_id": "it"}),
                client.delete(url),
                *(client.post(f"{url}/cancel") for _ in range(2 * settings.DATABASE_POOL_SIZE)),
            ]
            waiting = asyncio.gather(*changes)
            async with asyncio.timeout(20):
                accepted = await client.post("/ingest", json={"text": "c"})
                answers = await waiting

    assert accepted.status_code == 201
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (503, "database_busy")
        assert answer.headers["retry-after"]
