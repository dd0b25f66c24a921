"""Calls that a browser makes for a page: those of other pages change nothing."""

from __future__ import annotations

import httpx
import pytest

from app.models.document import Document

DOCUMENT = {"text": "The upper gate opens at six in the morning."}


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site", "origin": "https://elsewhere.example"},
        {"sec-fetch-site": "same-site", "origin": "http://sluice:3000"},
        {"sec-fetch-site": "cross-site"},
        {"origin": "http://elsewhere.example"},
        {"origin": "http://sluice:3000"},
        {"origin": "http://sluice.elsewhere.example"},
        {"origin": "null"},
        {"origin": "http://[sluice"},
        {"origin": ""},
    ],
)
async def test_another_page_changes_nothing(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    answers = [
        await client.post("/ingest", json=DOCUMENT, headers=headers),
        await client.post("/ingest", files={"file": ("a.txt", b"Mine.")}, headers=headers),
        await client.post("/ingest/batch", content=b'{"text": "Mine."}\n', headers=headers),
        await client.put("/collections/mine", json={}, headers=headers),
        await client.delete("/collections/default", headers=headers),
    ]

    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(403, "cross_origin")}
    assert await Document.all().count() == 0
    collections = (await client.get("/collections")).json()["collections"]
    assert [collection["name"] for collection in collections] == ["default"]


@pytest.mark.parametrize(
    "headers",
    [
        {},  # A program.
        {"sec-fetch-site": "same-origin", "origin": "http://sluice"},
        {"sec-fetch-site": "same-origin", "origin": "https://docs.example"},  # Behind a proxy.
        {"sec-fetch-site": "none"},
        {"origin": "http://sluice"},
        {"origin": "https://sluice"},
    ],
)
async def test_its_own_page_and_programs_are_served(
    client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    answer = await client.post("/ingest", json=DOCUMENT, headers=headers)

    assert answer.status_code == 201


async def test_reading_is_left_to_the_browsers_rules(client: httpx.AsyncClient) -> None:
    answer = await client.get("/documents", headers={"sec-fetch-site": "cross-site"})

    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


HOSTS_OF_OTHERS = [
    "elsewhere.example",
    "elsewhere.example:8000",
    "127.0.0.1.elsewhere.example",
    "a.b.",
    "x.y:z",
]


@pytest.mark.parametrize("host", HOSTS_OF_OTHERS)
async def test_a_page_that_has_its_own_name_lead_here_finds_nobody(
    client: httpx.AsyncClient, host: str
) -> None:
    headers = {"host": host, "origin": f"http://{host}"}  # Of one origin, to the browser.

    answers = [
        await client.get("/documents", headers=headers),
        await client.get("/", headers=headers),
        await client.post("/ingest", json=DOCUMENT, headers=headers),
    ]

    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(421, "host_unknown")}
    assert "ALLOWED_HOSTS" in answers[0].json()["hint"]
    assert await Document.all().count() == 0


HOSTS_OF_OURS = [
    "127.0.0.1:8000",
    "[::1]:8000",
    "[::ffff:127.0.0.1]",
    "LOCALHOST:8000",
    "a.localhost",
    "api",
    "",
]


@pytest.mark.parametrize("host", HOSTS_OF_OURS)
async def test_names_that_nobody_else_can_have_are_served(client: httpx.AsyncClient, host: str) -> None:
    assert (await client.get("/documents", headers={"host": host})).status_code == 200


@pytest.mark.parametrize("limits", [{"ALLOWED_HOSTS": ("Docs.example.org",)}])
async def test_a_name_of_the_settings_is_served_and_no_other(client: httpx.AsyncClient) -> None:
    hosts = ("docs.example.org", "docs.example.org:443", "DOCS.example.org.", "org")
    statuses = [(await client.get("/documents", headers={"host": host})).status_code for host in hosts]
    assert statuses == [200] * 4
    assert (await client.get("/documents", headers={"host": "example.org"})).status_code == 421


@pytest.mark.parametrize("limits", [{"ALLOWED_HOSTS": ("*",)}])
async def test_any_name_is_served_where_somebody_else_looks_after_that(client: httpx.AsyncClient) -> None:
    assert (await client.get("/documents", headers={"host": "elsewhere.example"})).status_code == 200
