"""What was sent and what was made of it, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, patch
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI

from app.api.cursor import ChunkCursor
from app.errors import NoText, VersionReplaced
from app.jobs.ingestion_job import process_ingestion
from app.models.document import Document
from app.models.reach import EVERYTHING
from app.services import content_service
from tests.object_server import ObjectServer
from tests.support import indexed, indexing

TEXT = "The upper gate opens at six.\n\n  The lower one, when the chamber is full.\n" * 40
PAGE = b"<!doctype html><html><body><script>alert(document.domain)</script><p>Gates</p></body></html>"


@pytest.fixture(autouse=True)
def send() -> Iterator[MagicMock]:
    with patch.object(process_ingestion, "send") as send:
        yield send


async def posted(client: httpx.AsyncClient, content: bytes, name: str, **fields: str) -> str:
    answer = await client.post("/ingest", files={"file": (name, content)}, data=fields)
    assert answer.status_code == 201, answer.text
    return str(answer.headers["location"])


def id_of(location: str) -> UUID:
    return UUID(location.rpartition("/")[2])


@pytest.fixture(params=["file", "inline"])
def kept(request: pytest.FixtureRequest) -> str:
    """Where the contents are."""
    return str(request.param)


#: For what depends on it: in an object store, too.
wherever_it_is_kept = pytest.mark.parametrize("kept", ["file", "inline", "object"], indirect=True)


@pytest.fixture
def limits(kept: str, request: pytest.FixtureRequest) -> dict[str, Any]:
    if kept != "object":
        return {"INLINE_CONTENT_BYTES": {"inline": 65536, "file": 64}[kept]}
    server: ObjectServer = request.getfixturevalue("object_server")
    server.bucket("contents")
    return {"INLINE_CONTENT_BYTES": 64, **server.settings(f"s3://contents/{uuid4()}")}


@wherever_it_is_kept
async def test_the_bytes_come_back_as_they_were_sent(client: httpx.AsyncClient) -> None:
    content = "Größe\r\n".encode("latin-1") * 20_000
    location = await posted(client, content, "größe „7“.txt")

    answer = await client.get(f"{location}/content")

    assert answer.status_code == 200
    assert answer.content == content
    assert answer.headers["content-length"] == str(len(content))
    assert answer.headers["content-type"] == "text/plain"  # In which encoding, only its reader finds out.
    assert answer.headers["etag"] == f'"{(await Document.get(id=id_of(location))).sha256}"'
    assert "last-modified" not in answer.headers
    disposition = answer.headers["content-disposition"]
    assert disposition.startswith("attachment; ")
    assert "filename*=UTF-8''gr%C3%B6%C3%9Fe%20%E2%80%9E7%E2%80%9C.txt" in disposition


@pytest.mark.parametrize(
    ("name", "shown", "saved"),
    [
        ('the "upper" gate.txt', 'the "upper" gate.txt', "the%20_upper_%20gate.txt"),
        ("upper\ngate\r\n.txt", "upper gate  .txt", "upper%20gate%20%20.txt"),
        ("100%25.txt", "100%25.txt", "100%2525.txt"),
        ("100%2522%2a%0a.txt", "100%2522%2a%0a.txt", "100%252522%252a%250a.txt"),
    ],
)
async def test_a_name_is_what_it_was_before_it_was_put_into_a_form(
    client: httpx.AsyncClient, name: str, shown: str, saved: str
) -> None:
    location = await posted(client, TEXT.encode(), name)  # By httpx, which escapes as browsers do.

    assert (await client.get(location)).json()["source_name"] == shown
    disposition = (await client.get(f"{location}/content")).headers["content-disposition"]
    assert disposition.endswith(f"; filename*=UTF-8''{saved}")
    batch = await client.post("/ingest/batch?external_ids=path", files=[("file", (name, b"At seven."))])
    (item,) = batch.json()["items"]
    document = (await client.get(f"/documents/{item['document_id']}")).json()
    assert (item["name"], document["source_name"], document["external_id"]) == (shown, shown, name)


@wherever_it_is_kept
async def test_its_head_comes_alone_to_who_asks_for_that(client: httpx.AsyncClient) -> None:
    location = await posted(client, TEXT.encode(), "gates.txt")
    whole = await client.get(f"{location}/content")

    head = await client.head(f"{location}/content")

    assert (head.status_code, head.content) == (200, b"")
    assert head.headers == whole.headers
    assert (await client.head(f"/documents/{uuid4()}/content")).status_code == 404


@pytest.mark.parametrize(
    ("content", "name"), [(PAGE, "page.html"), (b"<?xml version='1.0'?><svg><script/></svg>", "x.svg")]
)
async def test_what_a_browser_would_run_is_only_saved(
    client: httpx.AsyncClient, content: bytes, name: str
) -> None:
    answer = await client.get(f"{await posted(client, content, name)}/content")

    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["content-disposition"].startswith("attachment")


async def test_text_that_came_as_json_has_a_name_all_the_same(client: httpx.AsyncClient) -> None:
    location = (await client.post("/ingest", json={"text": TEXT, "title": "Gate times"})).headers["location"]

    answer = await client.get(f"{location}/content")

    assert answer.content == TEXT.encode()
    assert 'filename="Gate times.txt"' in answer.headers["content-disposition"]


@pytest.mark.parametrize("told", ['"{}"', 'W/"{}"', '"x", "{}"', "*"])
async def test_who_has_the_content_is_not_sent_it_again(client: httpx.AsyncClient, told: str) -> None:
    location = await posted(client, TEXT.encode(), "gates.txt")
    etag = (await client.get(f"{location}/content")).headers["etag"]

    again = await client.get(f"{location}/content", headers={"if-none-match": told.format(etag.strip('"'))})
    other = await client.get(f"{location}/content", headers={"if-none-match": '"x"'})

    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert other.status_code == 200


@wherever_it_is_kept
@pytest.mark.parametrize(
    ("headers", "status", "part"),
    [
        ({"range": "bytes=0-3"}, 206, slice(0, 4)),
        ({"range": "bytes=100-"}, 206, slice(100, None)),
        ({"range": "bytes=-5"}, 206, slice(-5, None)),
        ({"range": "lines=1-2"}, 200, slice(None)),
        ({"range": "bytes=x"}, 200, slice(None)),
        ({"range": "bytes=0-3", "if-range": '"x"'}, 200, slice(None)),
        ({"range": "bytes=0-3", "if-range": "Wed, 25 Nov 2026 00:00:00 GMT"}, 200, slice(None)),
    ],
)
async def test_a_range_comes_alone(
    client: httpx.AsyncClient, headers: dict[str, str], status: int, part: slice
) -> None:
    location = await posted(client, TEXT.encode(), "gates.txt")

    answer = await client.get(f"{location}/content", headers=headers)

    assert (answer.status_code, answer.content) == (status, TEXT.encode()[part])


@wherever_it_is_kept
async def test_a_range_of_the_version_that_one_has_comes_and_two_come_together(
    client: httpx.AsyncClient,
) -> None:
    location = await posted(client, TEXT.encode(), "gates.txt")
    etag = (await client.get(f"{location}/content")).headers["etag"]

    one = await client.get(f"{location}/content", headers={"range": "bytes=4-8", "if-range": etag})
    two = await client.get(f"{location}/content", headers={"range": "bytes=0-2,10-12"})

    assert (one.status_code, one.content) == (206, b"upper")
    assert one.headers["content-range"] == f"bytes 4-8/{len(TEXT)}"
    assert two.headers["content-type"].startswith("multipart/byteranges")


@wherever_it_is_kept
@pytest.mark.parametrize("asked", ["bytes=999999-", "bytes=9-2", "bytes=-0"])
async def test_a_range_outside_is_a_problem(client: httpx.AsyncClient, asked: str) -> None:
    location = await posted(client, TEXT.encode(), "gates.txt")

    answer = await client.get(f"{location}/content", headers={"range": asked})

    assert (answer.status_code, answer.json()["code"]) == (416, "range_not_satisfiable")
    assert answer.headers["content-range"].startswith("bytes */")


async def test_a_content_that_is_being_sent_survives_its_document(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    location = await posted(client, TEXT.encode(), "gates.txt")
    _, file = await app.state.resources.contents.open(id_of(location), EVERYTHING)
    with file:
        assert (await client.delete(location)).status_code == 204
        assert file.read() == TEXT.encode()
    assert (await client.get(f"{location}/content")).status_code == 404


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@wherever_it_is_kept
async def test_no_descriptor_stays_open(client: httpx.AsyncClient) -> None:
    location = await posted(client, TEXT.encode(), "gates.txt")
    await client.get(f"{location}/content")

    before = descriptors()
    for headers in ({}, {"range": "bytes=0-3"}, {"range": "bytes=999999-"}, {"if-none-match": "*"}):
        await client.get(f"{location}/content", headers=headers)
    assert descriptors() <= before


@pytest.mark.parametrize("kept", ["file", "object"], indirect=True)
async def test_a_content_that_is_not_there_is_told_as_such(client: httpx.AsyncClient, app: FastAPI) -> None:
    location = await posted(client, TEXT.encode(), "gates.txt")
    document = await Document.get(id=id_of(location))
    assert document.content_key is not None
    await app.state.resources.store.delete(document.content_key)

    answer = await client.get(f"{location}/content")

    assert (answer.status_code, answer.json()["code"]) == (503, "content_missing")


@pytest.mark.parametrize("path", ["content", "content?format=text", "chunks"])
async def test_an_unknown_document_has_nothing(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(f"/documents/{uuid4()}/{path}")

    assert (answer.status_code, answer.json()["code"]) == (404, "document_not_found")


@pytest.mark.parametrize("status", ["PENDING", "PROCESSING", "FAILED"])
async def test_a_document_that_no_search_finds_has_no_text_yet(
    client: httpx.AsyncClient, status: str
) -> None:
    location = await posted(client, TEXT.encode(), "gates.txt")
    if status != "PENDING":
        held = await Document.claim(id_of(location), owner="w", lease_s=30)
        assert held is not None
        if status == "FAILED":
            await held.fail(NoText())

    text = await client.get(f"{location}/content", params={"format": "text"})
    chunks = await client.get(f"{location}/chunks")

    assert (text.status_code, text.json()["code"]) == (409, "not_searchable")
    assert status in text.json()["detail"]
    assert text.json()["hint"]
    assert chunks.json() == {
        "document_id": location.rpartition("/")[2],
        "version": None,
        "chunks": [],
        "next_cursor": None,
    }


@pytest.mark.parametrize("overlap", [0, 6])
@pytest.mark.parametrize("at_once", [1, 3, 1000])
async def test_the_text_is_put_together_from_its_chunks(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, overlap: int, at_once: int
) -> None:
    monkeypatch.setattr(content_service, "CHUNKS_AT_ONCE", at_once)
    location = await posted(client, TEXT.encode(), "gates.txt")
    await indexed(id_of(location), TEXT, overlap=overlap)

    answer = await client.get(f"{location}/content", params={"format": "text"})
    chunks = (await client.get(f"{location}/chunks", params={"limit": 500})).json()["chunks"]

    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.text == TEXT.rstrip()
    assert len(chunks) > 10
    for chunk in chunks:
        assert answer.text[chunk["char_start"] : chunk["char_end"]] == chunk["text"]


async def test_the_text_has_a_tag_of_its_version(client: httpx.AsyncClient) -> None:
    location = await posted(client, TEXT.encode(), "gates.txt", external_id="gates")
    await indexed(id_of(location), TEXT)
    url = f"{location}/content?format=text"
    etag = (await client.get(url)).headers["etag"]
    assert (await client.get(url, headers={"if-none-match": etag})).status_code == 304

    await client.post("/ingest", json={"text": TEXT + "More.", "external_id": "gates"})
    # The old version is what can be found, until the new one is there.
    assert (await client.get(url, headers={"if-none-match": etag})).status_code == 304
    assert (await client.get(f"{location}/content")).text == TEXT + "More."
    await indexed(id_of(location), TEXT + "More.")

    answer = await client.get(url, headers={"if-none-match": etag})
    assert (answer.status_code, answer.text) == (200, TEXT + "More.")


async def test_pages_lead_through_all_chunks_once(client: httpx.AsyncClient) -> None:
    location = await posted(client, TEXT.encode(), "gates.txt")
    await indexed(id_of(location), TEXT)
    document = await Document.get(id=id_of(location))

    seen: list[int] = []
    cursor: str | None = None
    while True:
        params = {"limit": "7"} | ({"cursor": cursor} if cursor else {})
        page = (await client.get(f"{location}/chunks", params=params)).json()
        assert page["version"] == 1
        assert all(chunk["version"] == 1 for chunk in page["chunks"])
        seen += [chunk["ordinal"] for chunk in page["chunks"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert seen == list(range(document.chunk_count))
    assert page["chunks"][0].keys() == {
        "chunk_id", "ordinal", "version", "text", "char_start", "char_end", "page", "page_end", "headings",
        "token_count",
    }  # fmt: skip


async def test_a_page_of_a_version_that_was_replaced_says_so(client: httpx.AsyncClient) -> None:
    location = await posted(client, TEXT.encode(), "gates.txt", external_id="gates")
    await indexed(id_of(location), TEXT)
    cursor = (await client.get(f"{location}/chunks", params={"limit": 2})).json()["next_cursor"]
    await client.post("/ingest", json={"text": TEXT + "More.", "external_id": "gates"})
    held = await Document.claim(id_of(location), owner="w", lease_s=30)
    assert held is not None

    still = await client.get(f"{location}/chunks", params={"cursor": cursor})
    await held.complete(indexing(TEXT + "More."))
    gone = await client.get(f"{location}/chunks", params={"cursor": cursor})

    assert still.json()["version"] == 1
    assert (gone.status_code, gone.json()["code"]) == (409, "version_replaced")


@pytest.mark.parametrize(
    "params",
    [
        {"cursor": "x"},
        {"cursor": ChunkCursor(1, -1).encode()},
        {"cursor": ChunkCursor(1, 2**31).encode()},
        {"cursor": "w7_Dvw"},
        {"limit": 0},
        {"limit": 501},
    ],
)
async def test_a_bad_page_of_chunks_is_refused(
    client: httpx.AsyncClient, params: dict[str, str | int]
) -> None:
    answer = await client.get(f"/documents/{uuid4()}/chunks", params=params)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


async def test_a_text_whose_version_is_replaced_in_the_middle_has_no_good_end(
    client: httpx.AsyncClient, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content_service, "CHUNKS_AT_ONCE", 1)
    location = await posted(client, TEXT.encode(), "gates.txt", external_id="gates")
    await indexed(id_of(location), TEXT)
    text = app.state.resources.contents.text(await Document.get(id=id_of(location)))
    assert await anext(text)

    await client.post("/ingest", json={"text": TEXT + "More.", "external_id": "gates"})
    await indexed(id_of(location), TEXT + "More.")

    with pytest.raises(VersionReplaced):
        await anext(text)
