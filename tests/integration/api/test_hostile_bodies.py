"""Forms and JSON that are made to break a parser, fill a memory or hide something."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from unittest.mock import patch

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from app.api.upload import JSON_STRING, display_name
from app.core.config import Settings
from app.jobs.ingestion_job import process_ingestion
from app.main import create_app
from app.models.document import Document
from app.schemas.ingest import MAX_METADATA_DEPTH, MAX_METADATA_KEYS
from tests.support import emptied_database

TEXT = "The upper gate opens at six in the morning."


@pytest.fixture
async def app(settings: Settings, migrated: None, tmp_path: Path) -> AsyncIterator[FastAPI]:
    app = create_app(settings.model_copy(update={"STORAGE_URL": f"file://{tmp_path}"}))
    async with app.router.lifespan_context(app):
        await emptied_database()
        yield app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    with patch.object(process_ingestion, "send"):
        async with httpx.AsyncClient(transport=transport, base_url="http://sluice") as client:
            yield client


def part(name: str, body: bytes, *, filename: str | None = None, more: bytes = b"") -> bytes:
    disposition = f'content-disposition: form-data; name="{name}"'
    if filename is not None:
        disposition += f'; filename="{filename}"'
    return b"--b\r\n" + disposition.encode() + b"\r\n" + more + b"\r\n" + body + b"\r\n"


FILE = part("file", TEXT.encode(), filename="gate.txt")
END = b"--b--\r\n"
FORM = "multipart/form-data; boundary=b"


async def post_form(client: httpx.AsyncClient, body: bytes, content_type: str = FORM) -> httpx.Response:
    return await client.post("/ingest", content=body, headers={"content-type": content_type})


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"".join(part(name, b"x") for name in "abcdefgh") + FILE + END, FORM),
        (part("title", b"x") * 1000 + FILE + END, FORM),
        (FILE * 2 + END, FORM),
        (part("metadata", b" " * 33_000) + FILE + END, FORM),
        (part("title", b"x" * 2001) + FILE + END, FORM),
        (part("file", TEXT.encode(), filename="g", more=b"a: b\r\n" * 9) + END, FORM),
        (part("file", TEXT.encode(), filename="g", more=b"a: " + b"b" * 5000 + b"\r\n") + END, FORM),
        (part("file", TEXT.encode(), filename="g" * 5000) + END, FORM),
        (b"garbage before the first part" + FILE + END, FORM),
        (FILE, "multipart/form-data; boundary=" + "b" * 257),
        (FILE, "multipart/form-data; boundary="),
        (FILE, "multipart/form-data; charset=" + "x" * 1000),
        (FILE + END, FORM + "; charset=punycode"),
        (part("title", b"x") + part("f" * 3000, b"x") + FILE + END, FORM),
        (b"--b\r\n\r\nx\r\n" + FILE + END, FORM),
        (b"--b\r\ncontent-disposition: form-data\r\n\r\nx\r\n" + FILE + END, FORM),
        (FILE.replace(b"form-data", b"attachment").replace(b'name="file"', b"") + END, FORM),
        (
            part("file", part("inner", b"x") + END, more=b"content-type: multipart/mixed; boundary=b\r\n"),
            FORM,
        ),
        (b"", FORM),
        (END, FORM),
    ],
    ids=[
        "too many fields",
        "a field a thousand times",
        "two files",
        "a field of 33 KB",
        "a long title",
        "nine headers",
        "a header of 5 KB",
        "a name of 5 KB",
        "preamble",
        "a boundary of 257",
        "no boundary",
        "a boundary left out",
        "punycode",
        "a long field name",
        "no headers",
        "no name",
        "no form-data",
        "nested",
        "nothing",
        "only an end",
    ],
)
async def test_a_bad_form_is_refused_and_leaves_nothing(
    client: httpx.AsyncClient, body: bytes, content_type: str
) -> None:
    answer = await post_form(client, body, content_type)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), answer.text
    assert len(answer.content) < 4000
    assert await Document.all().count() == 0


@pytest.mark.parametrize(
    "body",
    [
        FILE + b"--b--" + b"\r\n" * 1000,
        FILE + END + b"what comes after the end counts for nothing" * 1000,
        FILE,  # Some clients forget the end; the file's own is there.
        b"\r\n\r\n" + FILE + END,
    ],
    ids=["line feeds", "epilogue", "no end", "empty preamble"],
)
async def test_what_lies_around_the_parts_is_no_part_of_the_file(
    client: httpx.AsyncClient, body: bytes
) -> None:
    answer = await post_form(client, body)

    assert answer.status_code in {201, 422}
    assert [document.size_bytes for document in await Document.all()] == (
        [len(TEXT)] if answer.status_code == 201 else []
    )


@pytest.mark.parametrize(
    "filler", [b"\r", b"\n", b"\r\n", b"\r\n-", b"\r\n--", b"-", b"\r\n--" + b"b" * 69 + b"x"]
)
async def test_bytes_that_look_like_a_boundary_take_no_more_than_linear_time(
    client: httpx.AsyncClient, filler: bytes
) -> None:
    async def once(size_bytes: int) -> float:
        boundary = b"b" * 70
        head = b'--%s\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nx' % boundary
        body = head + filler * (size_bytes // len(filler)) + b"\r\n--%s--\r\n" % boundary
        begun = time.thread_time()
        await post_form(client, body, "multipart/form-data; boundary=" + boundary.decode())
        return time.thread_time() - begun

    async def cpu_s(size_bytes: int) -> float:
        return min([await once(size_bytes) for _ in range(3)])

    # Sixteen times as much may take sixteen times as long, and three for the caches; its square, 256 times.
    assert await cpu_s(4 * 1024 * 1024) < 48 * max(await cpu_s(256 * 1024), 0.005)


def nested(depth: int) -> object:
    return {"a": nested(depth - 1)} if depth else 1


@pytest.mark.parametrize(
    "metadata",
    [
        nested(MAX_METADATA_DEPTH + 1),
        {str(number): 1 for number in range(MAX_METADATA_KEYS + 1)},
        {"a": [{"b": 1}] * (MAX_METADATA_KEYS + 1)},
    ],
    ids=["deep", "many keys", "many keys in all"],
)
async def test_metadata_have_bounds(client: httpx.AsyncClient, metadata: dict[str, object]) -> None:
    for answer in (
        await client.post("/ingest", json={"text": TEXT, "metadata": metadata}),
        await client.post(
            "/ingest", files={"file": ("a.txt", TEXT.encode())}, data={"metadata": json.dumps(metadata)}
        ),
    ):
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), answer.text
        assert "metadata must" in answer.json()["detail"]
    assert await Document.all().count() == 0


async def test_metadata_within_the_bounds_are_kept(client: httpx.AsyncClient) -> None:
    metadata = {"deep": nested(MAX_METADATA_DEPTH - 2), **{str(n): [n] for n in range(400)}}
    answer = await client.post("/ingest", json={"text": TEXT, "metadata": metadata})

    assert answer.status_code == 201, answer.text
    assert (await client.get(answer.headers["location"])).json()["metadata"] == metadata


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"text": "a", "metadata": ' + b'{"a":' * 100_000,
        b'{"text": "a", "metadata": {"a": ' + b"[" * 300 + b"]" * 300 + b"}}",
        b'{"text": "a", "metadata": {"a": ' + b"9" * 5000 + b"}}",
        b'{"text": "a", ' + b" " * 300_000 + b'"title": "b"}',
        b'""' * 400_000,
        b'"' + b'\\"' * 500_000,
        b'{"text": "a", "' + b"k" * 500_000 + b'": 1}',
        b'{"text": "' + b"\\ud800" * 10 + b'"}',
    ],
    ids=["[", "{", "deep", "number", "space", "strings", "unfinished", "key", "halves"],
)
async def test_bad_json_is_refused_in_a_short_answer(client: httpx.AsyncClient, body: bytes) -> None:
    for path in ("/ingest", "/search"):
        answer = await client.post(path, content=body, headers={"content-type": "application/json"})

        assert answer.status_code in {413, 422}, answer.text[:200]
        assert answer.json()["code"] in {"payload_too_large", "invalid_request"}
        assert len(answer.content) < 4000
    assert await Document.all().count() == 0


async def test_a_text_of_nothing_but_escapes_is_taken(client: httpx.AsyncClient) -> None:
    text = 'a"\\\n' * 500_000
    answer = await client.post("/ingest", json={"text": text})

    assert answer.status_code == 201, answer.text
    assert (await client.get(answer.headers["location"])).json()["size_bytes"] == len(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_strings_are_told_from_structure_as_json_does(document: object) -> None:
    def strings(value: object) -> int:
        if isinstance(value, dict):
            return sum(len(json.dumps(key)) + strings(item) for key, item in value.items())
        if isinstance(value, list):
            return sum(map(strings, value))
        return len(json.dumps(value)) if isinstance(value, str) else 0

    body = json.dumps(document).encode()
    assert sum(len(found[0]) for found in JSON_STRING.finditer(body)) == strings(document)


async def test_a_hundred_thousand_mistakes_are_not_all_told(client: httpx.AsyncClient) -> None:
    answer = await client.post("/search", json={"query": "gate", "collections": [1] * 80_000})

    assert answer.status_code == 422
    assert len(answer.json()["errors"]) <= 20


@pytest.mark.parametrize(
    "params",
    [
        {"status": ["PENDING"] * 21},
        {"collection": "x" * 201},
        {"external_id": "x" * 1025},
        {"cursor": "x" * 201},
    ],
)
async def test_a_query_has_bounds(client: httpx.AsyncClient, params: dict[str, str | list[str]]) -> None:
    assert (await client.get("/documents", params=params)).status_code == 422


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gate.pdf", "gate.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\a\\gate.pdf", "gate.pdf"),
        ("..", ".."),
        ("gate\u202efdp.exe", "gatefdp.exe"),
        ("\u2066gate\u2069\u200e\u061c.pdf", "gate.pdf"),
        ("ga\x00te\x1b[31m\x7f\x85.pdf", "gate[31m .pdf"),
        ("a\nb\t c\u2028d\u00a0e", "a b  c d e"),
        ("ga\u200bte\ufeff\u00ad\u2060.pdf", "gate.pdf"),
        ("\u3164\u115f\u2800\uffa0", None),
        ("\U000e0041\U000e0042gate", "gate"),
        ("a\u200cb\u200d", "ab"),
        ("é\u200d\u200d\u200dé", "éé"),
        (
            "\u0646\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
            "\u0646\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        ),
        ("\U0001f468\u200d\U0001f469.txt", "\U0001f468\u200d\U0001f469.txt"),
        ("e\u0301te\u0301", "été"),
        ("x" * 300 + ".pdf", "x" * 251 + ".pdf"),
        (" \u202e ", None),
        ("", None),
    ],
)
def test_a_name_is_shown_as_it_is_and_hides_nothing(name: str, expected: str | None) -> None:
    assert display_name(name) == expected


async def test_a_title_is_mended_and_a_collection_refused(client: httpx.AsyncClient) -> None:
    titled = await client.post("/ingest", json={"text": TEXT, "title": "Gate\u202e\r\n  times\u0000"[:-1]})
    hidden = await client.post("/ingest", json={"text": TEXT, "collection": "can\u200bal"})

    assert (await client.get(titled.headers["location"])).json()["title"] == "Gate    times"
    assert (hidden.status_code, hidden.json()["code"]) == (422, "invalid_request")
