"""What holds for every call: no unknown parameters, HEAD where GET is, and a 405 says what is possible."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI

from app.api.call_route import CallRoute
from app.models.document import Document
from tests.support import indexed

TEXT = "The upper gate opens at six in the morning."

#: What is not of the API: pages, which people bookmark and pass on, and what monitoring asks.
LENIENT = re.compile(r"/$|/ui/|/healthz$|/readyz$|/metrics$")


def address_of(route: CallRoute) -> str:
    """A path that leads there; what it names need not be there."""
    return re.sub(r"\{\w+\}", lambda _: str(uuid4()), route.path_format)


async def posted(client: httpx.AsyncClient) -> str:
    """The path of a document."""
    return str((await client.post("/ingest", json={"text": TEXT})).headers["location"])


# --- Parameters --------------------------------------------------------------------------------------------


async def test_every_call_of_the_api_refuses_a_parameter_that_it_does_not_know(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    calls = [
        (route, method) for route in app.routes if isinstance(route, CallRoute) for method in route.answered
    ]
    strict = [call for call in calls if not LENIENT.match(call[0].path)]
    assert len(strict) > 40

    for route, method in strict:
        answer = await client.request(method, f"{address_of(route)}?fnord=1")
        assert answer.status_code == 422, (method, route.path)
        if method != "HEAD":
            assert "/query/fnord: there is no such parameter" in answer.json()["detail"]
            call = app.openapi()["paths"][route.path_format][method.lower()]
            assert "invalid_request" in call["responses"]["422"]["description"]


@pytest.mark.parametrize("path", ["/", "/ui/search", "/ui/overview", "/healthz", "/readyz", "/metrics"])
async def test_pages_and_what_monitoring_asks_overlook_the_parameters_of_others(
    client: httpx.AsyncClient, path: str
) -> None:
    assert (await client.get(path, params={"utm_source": "mail"})).status_code == 200


@pytest.mark.parametrize(
    ("method", "address", "said"),
    [
        ("POST", "/ingest?collection=zzz", "/query/collection: there is no such parameter: it is a field of"),
        ("POST", "/ingest?colection=zzz", "did you mean `collection`, which is a field of the body?"),
        (
            "GET",
            "/documents/{}/content?fromat=text",
            "/query/fromat: there is no such parameter; did you mean `format`?",
        ),
        ("GET", "/documents/{}?timeout=3", "this call has `wait`"),
        ("GET", "/documents?codes=no_text", "did you mean `error_code`?"),
        ("GET", "/documents?wait=3&status=FAILED", "/query/wait: "),
        ("GET", "/stats?", ""),
        ("GET", "/stats?x=1&x=2&y", "/query/x: there is no such parameter: this call has none; /query/y: "),
        ("GET", f"/stats?{'x' * 5000}=1", f"/query/{'x' * 100}: "),
    ],
)
async def test_an_unknown_parameter_is_told_with_what_was_meant(
    client: httpx.AsyncClient, method: str, address: str, said: str
) -> None:
    body: dict[str, Any] = {"json": {"text": TEXT}} if method == "POST" else {}
    answer = await client.request(method, address.format(uuid4()), **body)

    assert answer.status_code == (422 if said else 200)
    assert said in answer.text
    assert await Document.all().count() == 0


async def test_an_unknown_field_of_a_body_is_told_with_the_one_that_was_meant(
    client: httpx.AsyncClient,
) -> None:
    retry = await client.post("/documents/retry", json={"error_code": ["no_text"]})
    search = await client.post("/search", json={"query": "gate", "topk": 3, "fnord": 1})
    single = await client.post("/ingest", json={"text": TEXT, "colection": "a"})
    lines = await client.post(
        "/ingest/batch",
        content=b'{"text": "One."}\n{"text": "Two.", "externalid": "2"}\n',
        headers={"content-type": "application/x-ndjson"},
    )

    assert "/error_code: there is no such field; did you mean `codes`?" in retry.json()["detail"]
    assert [each["detail"] for each in search.json()["errors"]] == [
        "there is no such field; did you mean `top_k`?",
        "there is no such field",
    ]
    assert "did you mean `collection`?" in single.json()["detail"]
    assert "did you mean `external_id`?" in lines.json()["items"][1]["error"]["message"]


# --- Methods -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("below", ["", "/content", "/content?format=text", "/chunks", "/attempts", "/events"])
async def test_head_is_answered_as_get_is(client: httpx.AsyncClient, below: str) -> None:
    path = await posted(client)
    await indexed(UUID(path.rpartition("/")[2]), TEXT)

    got, head = await client.get(path + below), await client.head(path + below)

    assert (head.status_code, head.headers) == (got.status_code, got.headers)
    assert (await client.head(f"/documents/{uuid4()}{below}")).status_code == 404


async def test_head_of_a_stream_ends(client: httpx.AsyncClient) -> None:
    path = await posted(client)  # Not final: to GET, its stream would go on.
    for address in ("/events", f"{path}/events"):
        answer = await client.head(address)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")


@pytest.mark.parametrize("path", ["/", "/ui/documents", "/ui/search", "/healthz", "/documents", "/stats"])
async def test_head_of_pages_and_lists_is_answered(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.head(path)).status_code == 200


async def test_a_method_that_is_not_possible_is_told_with_all_that_are(client: httpx.AsyncClient) -> None:
    answer = await client.post(await posted(client))

    assert (answer.status_code, answer.json()["code"]) == (405, "invalid_request")
    assert answer.json()["detail"] == "POST is not possible here, but GET, HEAD, PATCH and DELETE are."
    assert answer.headers["allow"] == "GET, HEAD, PATCH, DELETE"
    assert (await client.head("/search")).headers["allow"] == "POST"
    assert (await client.post("/ui/static/x")).status_code == 405


@pytest.mark.parametrize("address", ["abc", "{}?chunk=first", "{}/chunks"])
async def test_an_address_that_is_no_page_s_is_told_in_plain_words(
    client: httpx.AsyncClient, address: str
) -> None:
    answer = await client.get(f"/ui/documents/{address.format(uuid4())}")

    assert (answer.status_code, "There is no page at this address." in answer.text) == (404, True)
    assert "UUID" not in answer.text
    assert "the shape of the request" not in answer.text
