"""Every call there is, with a key that has limits."""

from __future__ import annotations

from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI

from app.web.page import ASSETS
from tests.keys import HAS_KEYS, bearer, secret_of


@pytest.fixture
def limits() -> dict[str, object]:
    return HAS_KEYS


#: For a key with limits: what it reads and what it changes within them, and what it does not reach at all. A
#: call that is new belongs into one of these, when somebody has thought about what it shows of others.
READS = {
    "GET /documents",
    "GET /documents/{document_id}",
    "GET /documents/{document_id}/attempts",
    "GET /documents/{document_id}/chunks",
    "GET /documents/{document_id}/content",
    "GET /documents/{document_id}/events",
    "GET /events",
    "GET /batches/{batch_id}",
    "GET /batches/{batch_id}/items",
    "GET /collections",
    "GET /collections/{name:path}",
    "POST /search",
}
CHANGES = {
    "POST /ingest",
    "POST /ingest/batch",
    "POST /documents/retry",
    "POST /documents/{document_id}/retry",
    "POST /documents/{document_id}/cancel",
    "PATCH /documents/{document_id}",
    "DELETE /documents/{document_id}",
    "PUT /collections/{name:path}",
    "DELETE /collections/{name:path}",
}
CLOSED = {
    "GET /stats",
    "GET /metrics",
    "POST /webhooks",
    "GET /webhooks",
    "GET /webhooks/{webhook_id}",
    "PATCH /webhooks/{webhook_id}",
    "DELETE /webhooks/{webhook_id}",
    "POST /webhooks/{webhook_id}/test",
    "GET /webhooks/{webhook_id}/deliveries",
    "POST /webhooks/{webhook_id}/deliveries/{delivery_id}/replay",
    "POST /keys",
    "GET /keys",
    "GET /keys/{key_id}",
    "DELETE /keys/{key_id}",
    "GET /",
    "GET /ui/documents",
    "GET /ui/documents/{document_id}",
    "GET /ui/search",
    "GET /ui/overview",
    "GET /ui/{address:path}",
}
#: About no collection.
HARMLESS = {
    "GET /healthz",
    "GET /readyz",
    "GET /docs",
    "GET /docs/oauth2-redirect",
    "GET /redoc",
    "GET /openapi.json",
    "HEAD /openapi.json",
    "GET /static-offline-docs",
    "GET /ui/static",
}


def calls_of(app: FastAPI) -> set[str]:
    calls = set()
    for route in app.routes:
        path = getattr(route, "path", repr(route))
        if path.startswith("/ui/static/"):  # Behind which stands a digest of what is in it.
            path = "/ui/static"
        calls |= {f"{method} {path}" for method in getattr(route, "methods", None) or {"GET"}}
    return calls


async def status_of(client: httpx.AsyncClient, key: str, call: str) -> tuple[int, str]:
    method, path = call.split()
    for name, value in (("{address:path}", "x"), ("{name:path}", "elsewhere"), ("/ui/static", f"{ASSETS}/x")):
        path = path.replace(name, value)
    path = "/".join(str(uuid4()) if part.startswith("{") else part for part in path.split("/"))
    if call == "GET /events":
        path += "?collection=" + "x" * 201  # Which is refused, but by the call: a stream has no end.
    answer = await client.request(method, path, headers=bearer(key))
    return answer.status_code, answer.text


async def test_a_limited_key_reaches_only_what_knows_of_limits(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    key = await secret_of(client, collections=["left"])
    assert calls_of(app) == READS | CHANGES | CLOSED | HARMLESS

    for call in sorted(CLOSED):
        status, told = await status_of(client, key, call)
        assert status == 403, call
        assert "opens all collections" in told
        assert "left" in told
        assert ("<html" in told) == (call.split()[1] == "/" or "/ui/" in call)
        if call.startswith("GET "):
            assert (await status_of(client, key, call.replace("GET", "HEAD")))[0] == 403, call
    for call in sorted(READS | HARMLESS | CHANGES - {"PUT /collections/{name:path}"}):
        assert (await status_of(client, key, call))[0] != 403, call


async def test_a_key_that_reads_changes_nothing(app: FastAPI, client: httpx.AsyncClient) -> None:
    limited = await secret_of(client, collections=["left"], may_write=False)
    reader = await secret_of(client, may_write=False)

    for call in sorted(CHANGES):
        for key in (limited, reader):
            status, told = await status_of(client, key, call)
            assert (status, "may only read" in told) == (403, True), call
    for call in sorted(READS | CLOSED | HARMLESS):
        status, told = await status_of(client, reader, call)
        is_refused = call.split()[1].startswith("/keys") or call.split()[0] not in {"GET", "HEAD"}
        assert (status == 403) == (is_refused and call != "POST /search"), call
    for call in sorted(READS):
        assert (await status_of(client, limited, call))[0] != 403, call
