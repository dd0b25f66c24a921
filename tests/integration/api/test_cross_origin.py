"""Calls that a browser makes for a page: those of other pages change nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from app.core.config import Settings
from app.main import create_app
from app.models.document import Document
from tests.support import emptied_database

DOCUMENT = {"text": "The upper gate opens at six in the morning."}


@pytest.fixture
async def app(settings: Settings, migrated: None, tmp_path: Path) -> AsyncIterator[FastAPI]:
    app = create_app(settings.model_copy(update={"STORAGE_URL": f"file://{tmp_path}"}))
    async with app.router.lifespan_context(app):
        await emptied_database()
        yield app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://sluice:8000") as client:
        yield client


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site", "origin": "https://elsewhere.example"},
        {"sec-fetch-site": "same-site", "origin": "http://sluice:3000"},
        {"sec-fetch-site": "cross-site"},
        {"origin": "http://elsewhere.example"},
        {"origin": "http://sluice"},
        {"origin": "http://sluice:8000.elsewhere.example"},
        {"origin": "null"},
        {"origin": "http://[sluice:8000"},
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
        {"sec-fetch-site": "same-origin", "origin": "http://sluice:8000"},
        {"sec-fetch-site": "same-origin", "origin": "https://docs.example"},  # Behind a proxy.
        {"sec-fetch-site": "none"},
        {"origin": "http://sluice:8000"},
        {"origin": "https://sluice:8000"},
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
