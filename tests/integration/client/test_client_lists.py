"""Where the client takes several names, a string is one of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.client import AsyncSluice, Ready, Sluice
from app.core.queue import broker
from tests.keys import OWNER
from tests.processes import api_process


@pytest.fixture(scope="module")
def url(migrated: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("api")
    settings = {"STORAGE_URL": f"file://{folder / 'content'}", "API_KEYS": OWNER}
    with api_process(settings, folder / "log") as process:
        yield process.url
    broker.flush_all()


@pytest.fixture
def sluice(url: str) -> Iterator[Sluice]:
    with Sluice(url, api_key=OWNER) as sluice:
        yield sluice


def test_failed_documents_are_retried_by_one_code_or_one_id(sluice: Sluice) -> None:
    first = sluice.ingest("The upper gate opens at six.", collection="lists").document_id
    second = sluice.ingest("The lower gate has no keeper.", collection="lists").document_id
    for document_id in (first, second):
        sluice.cancel(document_id)
    assert sluice.retry_failed(collection="lists", codes="no_text").retried == 0
    assert sluice.retry_failed(document_ids=first).retried == 1
    assert sluice.retry_failed(collection="lists", codes="cancelled").retried == 1
    assert {each.document_id for each in sluice.documents(collection="lists", status="PENDING")} == {
        first,
        second,
    }


def test_one_collection_is_watched_opened_and_told_of(sluice: Sluice) -> None:
    assert isinstance(next(sluice.watch(collections="canal", statuses="FAILED")), Ready)
    assert sluice.create_key("one", collections="canal").collections == ["canal"]
    webhook = sluice.create_webhook("https://hooks.example/one", statuses="FAILED", collections="canal")
    assert (webhook.statuses, webhook.collections) == (["FAILED"], ["canal"])
    changed = sluice.change_webhook(webhook.webhook_id, statuses="COMPLETED", collections="locks")
    assert (changed.statuses, changed.collections) == (["COMPLETED"], ["locks"])
    delivery = sluice.test_webhook(webhook.webhook_id)
    assert [*sluice.deliveries(webhook.webhook_id, status=delivery.status)] != []


async def test_the_same_goes_for_asyncio(url: str) -> None:
    async with AsyncSluice(url, api_key=OWNER) as sluice:
        made = await sluice.create_key("another", collections="canal")
        assert made.collections == ["canal"]
