"""Finding documents by what their rows say."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from unittest.mock import MagicMock, patch
from uuid import UUID, uuid4

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import NoText
from app.jobs.ingestion_job import process_ingestion
from app.models.document import Document
from app.models.listing import after_prefix
from app.models.sql import fetch
from tests.support import indexed


@pytest.fixture(autouse=True)
def send() -> Iterator[MagicMock]:
    with patch.object(process_ingestion, "send") as send:
        yield send


NAMES = {
    "docs/a.md": {"title": "Gate Times", "collection": "canal"},
    "docs/b.md": {"title": "100% Überlauf", "collection": "canal"},
    "docs_c.md": {"title": None},
    "Docs/d.md": {"title": "back\\slash"},
    "other": {"title": "under_score"},
}


@pytest.fixture
async def ids(client: httpx.AsyncClient) -> dict[str, str]:
    """A document for each name; two of them FAILED, one COMPLETED."""
    found = {}
    for name, fields in NAMES.items():
        answer = await client.post("/ingest", json={"text": f"# {name}", "external_id": name, **fields})
        found[name] = answer.json()["document_id"]
    page = await client.post("/ingest", files={"file": ("Page.HTML", b"<!doctype html><p>Gates</p>")})
    found["page"] = page.json()["document_id"]
    await Document.cancel(UUID(found["docs/a.md"]))
    held = await Document.claim(UUID(found["other"]), owner="w", lease_s=30)
    assert held is not None
    await held.fail(NoText())
    await indexed(UUID(found["page"]), "Gates")
    return found


async def found(client: httpx.AsyncClient, ids: dict[str, str], **params: object) -> set[str]:
    answer = await client.get("/documents", params=params)  # type: ignore[arg-type]
    assert answer.status_code == 200, answer.text
    names = {document_id: name for name, document_id in ids.items()}
    return {names[document["document_id"]] for document in answer.json()["documents"]}


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"external_id_prefix": "docs/"}, {"docs/a.md", "docs/b.md"}),
        ({"external_id_prefix": "docs_"}, {"docs_c.md"}),
        ({"external_id_prefix": "docs"}, {"docs/a.md", "docs/b.md", "docs_c.md"}),
        ({"external_id_prefix": ""}, {*NAMES, "page"}),
        ({"external_id_prefix": "none"}, set()),
        ({"external_id_prefix": "docs/", "status": "FAILED"}, {"docs/a.md"}),
        ({"external_id_prefix": "docs/", "collection": "default"}, set()),
        ({"media_type": "text/html"}, {"page"}),
        ({"media_type": "text/plain", "status": "COMPLETED"}, {"page"}),
        ({"q": "gate"}, {"docs/a.md"}),
        ({"q": "DOCS/"}, {"docs/a.md", "docs/b.md", "Docs/d.md"}),
        ({"q": "page.html"}, {"page"}),
        ({"q": "%"}, {"docs/b.md"}),
        ({"q": "100% ÜBER"}, {"docs/b.md"}),
        ({"q": "_"}, {"docs_c.md", "other"}),
        ({"q": "\\"}, {"Docs/d.md"}),
        ({"q": "docs", "collection": "canal", "status": "PENDING"}, {"docs/b.md"}),
        ({"error_code": "no_text"}, {"other"}),
        ({"error_code": "cancelled"}, {"docs/a.md"}),
        ({"error_code": "no_text", "status": "PENDING"}, set()),
        ({"status": ["PENDING", "COMPLETED"], "q": "docs"}, {"docs/b.md", "docs_c.md", "Docs/d.md"}),
    ],
)
async def test_each_filter_narrows_what_the_others_leave(
    client: httpx.AsyncClient, ids: dict[str, str], params: dict[str, object], expected: set[str]
) -> None:
    if params.get("media_type") == "text/html":
        await Document.filter(id=ids["page"]).update(media_type="text/html")
    assert await found(client, ids, **params) == expected


async def test_times_are_from_and_until(client: httpx.AsyncClient, ids: dict[str, str]) -> None:
    moment = datetime(2026, 1, 1, 12, tzinfo=UTC)
    for number, document_id in enumerate(ids.values()):
        await fetch(
            "UPDATE documents SET created_at = $2 WHERE id = $1 RETURNING id",
            UUID(document_id),
            moment + timedelta(hours=number),
        )
    names = list(ids)

    for told in ("2026-01-01T14:00:00Z", "2026-01-01T16:00:00+02:00", "2026-01-01T14:00"):
        assert await found(client, ids, created_after=told) == set(names[2:])
        assert await found(client, ids, created_before=told) == set(names[:2])
    between = {"created_after": "2026-01-01T13:00:00Z", "created_before": "2026-01-01T15:00:00Z"}
    assert await found(client, ids, **between) == set(names[1:3])
    assert await found(client, ids, created_after="2026-01-01", created_before="2026-01-02") == set(names)
    assert await found(client, ids, created_after="2026-01-02") == set()


async def test_a_batch_s_documents_are_found_new_or_known(
    client: httpx.AsyncClient, ids: dict[str, str]
) -> None:
    body = b'{"text": "fresh"}\n{"text": "# other", "external_id": "other"}\n'
    headers = {"content-type": "application/x-ndjson"}
    batch = (await client.post("/ingest/batch", content=body, headers=headers)).json()
    ids["fresh"] = batch["items"][0]["document_id"]

    assert await found(client, ids, batch_id=batch["batch_id"]) == {"fresh", "other"}
    assert await found(client, ids, batch_id=batch["batch_id"], external_id_prefix="o") == {"other"}
    assert await found(client, ids, batch_id=str(uuid4())) == set()


@pytest.mark.parametrize(
    "params",
    [
        {"external_id_prefix": "\x00"},
        {"media_type": "x" * 256},
        {"q": "x" * 201},
        {"created_after": "2026-02-30"},
        {"created_before": "0001-01-01T00:00:00+14:00"},
        {"created_before": "yesterday"},
        {"batch_id": "x"},
        {"name": "x"},
    ],
)
async def test_a_filter_that_is_not_understood_is_refused(
    client: httpx.AsyncClient, params: dict[str, str]
) -> None:
    answer = await client.get("/documents", params=params)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


async def test_pages_of_a_filter_stay_put_while_documents_come_change_and_go(
    client: httpx.AsyncClient,
) -> None:
    async def post(name: str) -> str:
        answer = await client.post("/ingest", json={"text": name, "title": name, "external_id": f"in/{name}"})
        return str(answer.headers["location"])

    locations = [await post(str(number)) for number in range(10)]
    seen: list[str] = []
    cursor: str | None = None
    while True:
        params = {"limit": "3", "external_id_prefix": "in/"} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/documents", params=params)).json()
        seen += [document["external_id"] for document in page["documents"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
        await post(f"new {len(seen)}")
        await client.patch(locations[5], json={"title": f"{len(seen)}"})
        await client.post(f"{locations[2]}/cancel")
        await client.delete(locations[9 - len(seen) + 1])  # One that has been seen: the cursor's own.

    assert seen == [f"in/{number}" for number in range(9, -1, -1)]


@given(prefix=st.text(min_size=1, max_size=3), rest=st.text(max_size=2))
def test_what_begins_so_lies_before_the_end_of_the_prefix(prefix: str, rest: str) -> None:
    end = after_prefix(prefix)

    assert end is None or prefix <= prefix + rest < end


@pytest.mark.parametrize(
    ("prefix", "end"),
    [("a", "b"), ("a\U0010ffff", "b"), ("\ud7ff", "\ue000"), ("\U0010ffff", None), ("", None)],
)
def test_the_end_of_a_prefix_is_a_text_too(prefix: str, end: str | None) -> None:
    assert after_prefix(prefix) == end
