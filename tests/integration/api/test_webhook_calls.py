"""The calls about webhooks: a secret is shown once, and what cannot work is refused at once."""

from __future__ import annotations

import base64
from typing import Any
from uuid import uuid4

import httpx
import pytest

from app.models.document import Document
from app.models.sql import fetch
from app.services.webhook_sender import new_secret

URL = "https://example.org/hook"


@pytest.fixture(autouse=True)
async def none_yet(client: httpx.AsyncClient) -> None:
    await fetch("DELETE FROM webhooks RETURNING id")


async def made(client: httpx.AsyncClient, **asked: Any) -> dict[str, Any]:
    answer = await client.post("/webhooks", json={"url": URL, **asked})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def test_a_webhook_is_made_shown_changed_and_deleted_and_its_secret_shown_once(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.post("/webhooks", json={"url": URL, "statuses": ["FAILED"], "collections": ["a"]})
    created = answer.json()
    path = answer.headers["location"]
    assert path == f"/webhooks/{created['webhook_id']}"
    assert answer.headers["cache-control"] == "no-store"
    assert len(base64.b64decode(created.pop("secret").removeprefix("whsec_"))) == 32

    assert (await client.get(path)).json() == created
    assert (await client.get("/webhooks")).json() == {"webhooks": [created]}

    given = new_secret()
    answer = await client.patch(path, json={"statuses": None, "secret": given, "enabled": False})
    assert given not in answer.text
    changed = answer.json()
    assert (changed["statuses"], changed["collections"]) == (None, ["a"])
    assert (changed["enabled"], changed["disabled_reason"]) == (False, "It was switched off.")
    rows = await fetch("SELECT secret FROM webhooks")
    assert rows[0]["secret"] == given
    assert (await client.patch(path, json={"enabled": True})).json()["enabled"] is True

    assert (await client.delete(path)).status_code == 204
    for method, below in (
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/test"),
        ("GET", "/deliveries"),
    ):
        body = {"json": {}} if method == "PATCH" else {}
        answer = await client.request(method, f"{path}{below}", **body)  # type: ignore[arg-type]
        assert (answer.status_code, answer.json()["code"]) == (404, "webhook_not_found")


async def test_a_disabled_webhook_is_tested_only_when_it_is_enabled_again(client: httpx.AsyncClient) -> None:
    path = f"/webhooks/{(await made(client))['webhook_id']}"
    await client.patch(path, json={"enabled": False})

    refused = await client.post(f"{path}/test")
    assert (refused.status_code, refused.json()["code"]) == (409, "webhook_disabled")
    assert (await client.get(f"{path}/deliveries")).json()["deliveries"] == []

    await client.patch(path, json={"enabled": True})
    assert (await client.post(f"{path}/test")).json()["status"] == "PENDING"


async def test_deliveries_are_listed_page_by_page_and_replayed(client: httpx.AsyncClient) -> None:
    path = f"/webhooks/{(await made(client))['webhook_id']}"
    for number in range(2):
        posted = await client.post("/ingest", json={"text": f"Gate {number} opens."})
        await Document.cancel(posted.json()["document_id"])
    test = (await client.post(f"{path}/test")).json()
    assert (test["type"], test["document_id"], test["status"]) == ("test", None, "PENDING")

    first = (await client.get(f"{path}/deliveries", params={"limit": 2})).json()
    rest = (await client.get(f"{path}/deliveries", params={"cursor": first["next_cursor"]})).json()
    found = first["deliveries"] + rest["deliveries"]
    assert [each["type"] for each in found] == ["test", "document.failed", "document.failed"]
    assert rest["next_cursor"] is None
    failed = {"status": "FAILED"}
    assert (await client.get(f"{path}/deliveries", params=failed)).json()["deliveries"] == []

    replayed = await client.post(f"{path}/deliveries/{found[1]['delivery_id']}/replay")
    assert replayed.json()["delivery_id"] == found[1]["delivery_id"]
    unknown = await client.post(f"{path}/deliveries/{uuid4()}/replay")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "delivery_not_found")


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"url": "http://127.0.0.1/"}, "address_refused"),
        ({"url": "http://[::1]:80/"}, "address_refused"),
        ({"url": "https://localhost/"}, "address_refused"),
        ({"url": "ftp://example.org/"}, "invalid_request"),
        ({"url": "https://user:word@example.org/"}, "invalid_request"),
        ({"url": "https://example.org:99999/"}, "invalid_request"),
        ({"url": "https://exämple.org/"}, "invalid_request"),
        ({"url": "https://"}, "invalid_request"),
        ({"url": "https://.example.org/"}, "invalid_request"),
        ({"url": "https://hooks..example.org/"}, "invalid_request"),
        ({"url": f"https://{'a' * 64}.example.org/"}, "invalid_request"),
        ({"url": "https://[::1"}, "invalid_request"),
        ({"secret": "whsec_c2hvcnQ="}, "invalid_request"),
        ({"statuses": ["PENDING"]}, "invalid_request"),
        ({"statuses": []}, "invalid_request"),
        ({"events": ["*"]}, "invalid_request"),
    ],
)
async def test_what_cannot_work_is_refused_and_no_secret_comes_back(
    client: httpx.AsyncClient, asked: dict[str, Any], code: str
) -> None:
    answer = await client.post("/webhooks", json={"url": URL, **asked})
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert "c2hvcnQ" not in answer.text
    if "url" in asked:
        path = f"/webhooks/{(await made(client))['webhook_id']}"
        assert (await client.patch(path, json=asked)).status_code == 422
