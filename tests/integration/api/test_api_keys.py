"""With keys in the settings, nobody gets in without one."""

from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from app.models.document import Document

KEY, OTHER = "first-key-of-this-server", "other-key-of-this-server"
DOCUMENT = {"text": "The upper gate opens at six in the morning."}


@pytest.fixture
def limits() -> dict[str, object]:
    return {"API_KEYS": (SecretStr(KEY), SecretStr(OTHER))}


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.mark.parametrize("key", [KEY, OTHER])
async def test_each_of_the_keys_opens_as_a_token_and_as_a_password(
    client: httpx.AsyncClient, key: str
) -> None:
    taken = await client.post("/ingest", json=DOCUMENT, headers=bearer(key))
    seen = await client.get("/documents", auth=("anybody", key))

    assert taken.status_code == 201
    assert [each["document_id"] for each in seen.json()["documents"]] == [taken.json()["document_id"]]


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer  "])
async def test_the_name_of_the_scheme_may_be_written_in_any_case(
    client: httpx.AsyncClient, scheme: str
) -> None:
    assert (await client.get("/stats", headers={"authorization": f"{scheme} {KEY}"})).status_code == 200


@pytest.mark.parametrize(
    ("authorization", "told"),
    [
        (None, "asks for a key"),
        ("", "asks for a key"),
        ("Bearer", "none of the server's"),
        ("Bearer ", "none of the server's"),
        (f"Bearer {KEY}x", "none of the server's"),
        (f"Bearer {KEY[:-1]}", "none of the server's"),
        (f"Bearer {KEY},{OTHER}", "none of the server's"),
        (f"Token {KEY}", "none of the server's"),
        (KEY, "none of the server's"),
        ("Basic !", "none of the server's"),
        ("Basic " + "eDp5", "none of the server's"),  # x:y
        (b"Bearer \xff\xfe", "none of the server's"),
    ],
)
async def test_without_a_key_nothing_is_told_and_nothing_done(
    client: httpx.AsyncClient, authorization: str | bytes | None, told: str
) -> None:
    headers = {} if authorization is None else {"authorization": authorization}
    calls = [
        ("POST", "/ingest"),
        ("POST", "/ingest/batch"),
        ("GET", "/documents"),
        ("POST", "/search"),
        ("GET", "/events"),
        ("DELETE", "/collections/default"),
        ("GET", "/"),
        ("GET", "/ui/documents"),
        ("GET", "/docs"),
        ("GET", "/openapi.json"),
        ("GET", "/not/there"),
        ("OPTIONS", "/documents"),
        ("GET", "/healthz/../documents"),
    ]
    for method, path in calls:
        answer = await client.request(method, path, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized"), (method, path)
        assert told in answer.json()["detail"]
        assert "API_KEYS" in answer.json()["hint"]
        assert KEY not in answer.text
        challenges = answer.headers.get_list("www-authenticate")
        assert [challenge.split()[0] for challenge in challenges] == ["Bearer", "Basic"]
    assert await Document.all().count() == 0


async def test_load_balancers_need_none(client: httpx.AsyncClient) -> None:
    assert [(await client.get(path)).status_code for path in ("/healthz", "/readyz")] == [200, 200]


async def test_who_has_a_key_may_call_by_any_name(client: httpx.AsyncClient) -> None:
    answer = await client.get("/documents", headers=bearer(KEY) | {"host": "docs.example.org"})
    assert answer.status_code == 200


async def test_a_page_of_somebody_else_may_not_use_the_password_that_a_browser_knows(
    client: httpx.AsyncClient,
) -> None:
    headers = {"sec-fetch-site": "cross-site", "origin": "https://elsewhere.example"}

    answer = await client.post("/ingest", json=DOCUMENT, headers=headers, auth=("anybody", KEY))

    assert (answer.status_code, answer.json()["code"]) == (403, "cross_origin")


async def test_the_description_of_the_calls_says_which_ask_for_a_key(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json", headers=bearer(KEY))).json()

    kinds = [scheme["scheme"] for scheme in document["components"]["securitySchemes"].values()]
    assert kinds == ["bearer", "basic"]
    assert document["security"] == [{name: []} for name in document["components"]["securitySchemes"]]
    assert document["paths"]["/readyz"]["get"]["security"] == []
    assert "security" not in document["paths"]["/ingest"]["post"]


async def test_with_no_keys_everybody_is_let_in_and_the_description_asks_for_none(settings: object) -> None:
    from app.main import create_app

    app: FastAPI = create_app(settings)  # type: ignore[arg-type]

    assert "security" not in app.openapi()
