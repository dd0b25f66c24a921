"""Many documents in one request."""

from __future__ import annotations

import asyncio
import io
import json
import stat
import time
import zipfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, patch
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from app.core.config import Settings
from app.core.database import connect
from app.errors import NoText
from app.jobs.ingestion_job import process_ingestion
from app.models import backlog
from app.models.batch import Batch
from app.models.document import Document, DocumentStatus
from app.models.document_content import DocumentContent
from tests.support import indexed

URL = "/ingest/batch"
LINES = {"content-type": "application/x-ndjson"}
ZIP = {"content-type": "application/zip"}
SCAN = b"\x89PNG\r\n\x1a\n" + b"\0" * 100
Items = list[dict[str, Any]]


@pytest.fixture(autouse=True)
def send() -> Iterator[MagicMock]:
    with patch.object(process_ingestion, "send") as send:
        yield send


@pytest.fixture
async def owner(settings: Settings, migrated: None) -> AsyncIterator[asyncpg.Connection]:
    connection = await connect(settings)
    yield connection
    await connection.close()


def lines(*documents: object) -> bytes:
    return b"".join(json.dumps(document).encode() + b"\n" for document in documents)


def texts(count: int, **fields: object) -> bytes:
    return lines(*({"text": f"gate {n}", **fields} for n in range(count)))


def form(*parts: tuple[str, str | None, bytes]) -> tuple[bytes, dict[str, str]]:
    """A form's body, in exactly this order, and its header."""
    body = b""
    for name, file_name, content in parts:
        named = f'; filename="{file_name}"' if file_name is not None else ""
        body += f'--b\r\ncontent-disposition: form-data; name="{name}"{named}\r\n\r\n'.encode()
        body += content + b"\r\n"
    return body + b"--b--\r\n", {"content-type": "multipart/form-data; boundary=b"}


def zipped(members: Iterable[tuple[str | zipfile.ZipInfo, bytes]], **options: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **{"compression": zipfile.ZIP_DEFLATED, **options}) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


async def posted(client: httpx.AsyncClient, body: bytes, headers: dict[str, str], **params: str) -> Any:
    answer = await client.post(URL, content=body, headers=headers, params=params)
    assert answer.status_code == 200, answer.text
    assert answer.headers["location"] == f"/batches/{answer.json()['batch_id']}"
    return answer.json()


def codes(items: Items) -> list[str | None]:
    return [item["error"] and item["error"]["code"] for item in items]


# --- The three kinds of body, and the two of answers -------------------------------------------------------


async def test_each_line_is_a_document_with_its_fields(client: httpx.AsyncClient, send: MagicMock) -> None:
    body = lines(
        {"text": "one", "title": "One", "metadata": {"n": 1}, "external_id": "first"},
        {"content": "two", "collection": "canal"},
    )

    answer = await posted(client, b"\xef\xbb\xbf" + body.replace(b"\n", b"\r\n\n"), LINES, collection="c")

    assert [item["index"] for item in answer["items"]] == [0, 1]
    assert (answer["created"], answer["known"], answer["failed"], answer["error"]) == (2, 0, 0, None)
    one, two = [await Document.get(id=item["document_id"]) for item in answer["items"]]
    assert (one.title, one.metadata, one.external_id, one.collection) == ("One", {"n": 1}, "first", "c")
    assert (two.collection, two.status) == ("canal", "PENDING")
    assert bytes((await DocumentContent.get(document_id=one.id)).content) == b"one"
    assert [call.args[0] for call in send.call_args_list] == [str(one.id), str(two.id)]


async def test_each_file_of_a_form_is_a_document_and_the_fields_before_hold_for_all(
    client: httpx.AsyncClient,
) -> None:
    body, headers = form(
        ("collection", None, b"canal"),
        ("metadata", None, b'{"season": "summer"}'),
        ("file", "a/gates.md", b"# Gates\n\nAt six."),
        ("file", "a/locks.txt", b"At seven."),
    )

    answer = await posted(client, body, headers, external_ids="path")

    documents = [await Document.get(id=item["document_id"]) for item in answer["items"]]
    assert [document.source_name for document in documents] == ["gates.md", "locks.txt"]
    assert [document.external_id for document in documents] == ["a/gates.md", "a/locks.txt"]
    assert [item["name"] for item in answer["items"]] == ["a/gates.md", "a/locks.txt"]
    assert [document.media_type for document in documents] == ["text/markdown", "text/plain"]
    assert {document.collection for document in documents} == {"canal"}
    assert [document.metadata for document in documents] == [{"season": "summer"}] * 2


async def test_each_member_of_a_zip_is_a_document(client: httpx.AsyncClient) -> None:
    systems = ("__MACOSX/._a", ".DS_Store", "docs/.DS_Store", "docs/Thumbs.db", "docs/b/Desktop.ini")
    documents_sent = [("docs/", b""), ("docs/a.txt", b"a"), ("docs/b/c.md", b"# c")]
    body = zipped([*documents_sent, *((name, SCAN) for name in systems)])

    answer = await posted(client, body, ZIP, collection="canal", external_ids="path")

    documents = [await Document.get(id=item["document_id"]) for item in answer["items"]]
    assert [document.external_id for document in documents] == ["docs/a.txt", "docs/b/c.md"]
    assert [document.source_name for document in documents] == ["a.txt", "c.md"]
    assert {document.collection for document in documents} == {"canal"}


async def test_items_are_told_by_their_paths_whatever_their_documents_are_called(
    client: httpx.AsyncClient,
) -> None:
    paths = ["lower/README.md", "upper/README.md", "upper/scan.png"]
    body = zipped(zip(paths, (b"a", b"b", SCAN), strict=True))

    answer = await posted(client, body, ZIP)

    kept = (await client.get(f"/batches/{answer['batch_id']}/items")).json()["items"]
    assert [item["name"] for item in answer["items"]] == [item["name"] for item in kept] == paths
    documents = [await Document.get(id=item["document_id"]) for item in kept[:2]]
    assert [(each.external_id, each.source_name) for each in documents] == [(None, "README.md")] * 2


async def test_an_answer_in_lines_says_the_same(client: httpx.AsyncClient) -> None:
    body = lines({"text": "one"}, {"text": "two", "titel": "x"})

    answer = await client.post(URL, content=body, headers=LINES | {"accept": "application/x-ndjson"})

    assert answer.headers["content-type"] == "application/x-ndjson"
    one, two, summary = map(json.loads, answer.text.splitlines())
    assert (one["index"], one["status"], one["error"]) == (0, "PENDING", None)
    assert (two["index"], two["document_id"], two["error"]["code"]) == (1, None, "invalid_request")
    assert summary == {
        "batch_id": answer.headers["location"].rpartition("/")[2],
        "created": 1,
        "known": 0,
        "failed": 1,
        "error": None,
    }


@pytest.mark.parametrize("limits", [{"INLINE_CONTENT_BYTES": 64}])
async def test_a_large_content_among_small_ones_is_a_file(client: httpx.AsyncClient, app: FastAPI) -> None:
    large = "The upper gate opens at six. " * 100_000
    members = [("a.txt", b"a"), ("b.txt", large.encode()), ("c.txt", b"c"), ("again.txt", large.encode())]

    answer = await posted(client, zipped(members), ZIP)

    assert (answer["created"], answer["known"]) == (3, 1)
    document = await Document.get(id=answer["items"][1]["document_id"])
    assert document.content_key is not None
    assert (app.state.resources.store.root / document.content_key).read_text() == large
    root = app.state.resources.store.root
    assert len([path for path in root.rglob("*") if path.is_file()]) == 1


# --- One bad item spoils nothing ---------------------------------------------------------------------------


async def test_a_line_that_cannot_be_taken_is_told_and_the_others_are_taken(
    client: httpx.AsyncClient,
) -> None:
    bad: list[tuple[bytes, str]] = [
        (b"{", "invalid_request"),
        (b"hello", "invalid_request"),
        (b"\xff\xfe", "invalid_request"),
        (b"[1]", "invalid_request"),
        (b"{}", "invalid_request"),
        (b'{"text": "  "}', "empty_file"),
        (b'{"text": "a\\u0000"}', "invalid_request"),
        (b'{"text": "\\ud800"}', "invalid_request"),
        (b'{"text": "a", "metadata": {"k": NaN}}', "invalid_request"),
        (b'{"text": "a", "metadata": {"k": [' + b"[]," * 200_000 + b"[]]}}", "invalid_request"),
        (b'{"text": "a", "collection": ""}', "invalid_request"),
        (b'{"text": "a", "external_id": "' + b"x" * 1025 + b'"}', "invalid_request"),
    ]
    body = b"".join(line + b'\n{"text": "gate %d"}\n' % n for n, (line, _) in enumerate(bad))

    answer = await posted(client, body, LINES)

    assert codes(answer["items"][::2]) == [code for _, code in bad]
    assert codes(answer["items"][1::2]) == [None] * len(bad)
    for item in answer["items"][::2]:
        assert item["error"].keys() == {"code", "message", "retryable", "hint"}
        assert (item["document_id"], item["status"], item["created"]) == (None, None, False)
    assert await Document.all().count() == len(bad)


async def test_a_file_that_cannot_be_taken_is_told_and_the_others_are_taken(
    client: httpx.AsyncClient,
) -> None:
    body, headers = form(
        ("file", "a.txt", b"a"),
        ("file", "scan.png", SCAN),
        ("file", "empty.txt", b" \n"),
        ("attachment", "b.txt", b"b"),
        ("file", "", b"nameless"),
        ("file", "x" * 1100, b"c"),
    )

    answer = await posted(client, body, headers, external_ids="path")

    expected = [None, "unsupported_media_type", "empty_file", *["invalid_request"] * 3]
    assert codes(answer["items"]) == expected
    assert answer["items"][1]["name"] == "scan.png"


def member(name: str, change: Callable[[zipfile.ZipInfo], object]) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.compress_type = zipfile.ZIP_DEFLATED
    change(info)
    return info


def symlink(info: zipfile.ZipInfo) -> None:
    info.external_attr = (stat.S_IFLNK | 0o777) << 16


def encrypted(body: bytes, name: bytes) -> bytes:
    """The same zip, with this member marked as encrypted in its directory."""
    at = body.index(b"PK\x01\x02", body.rindex(name) - 46)
    return body[: at + 8] + b"\x01" + body[at + 9 :]


async def test_a_member_that_cannot_be_taken_is_told_and_the_others_are_taken(
    client: httpx.AsyncClient,
) -> None:
    lzma = member("lzma.txt", lambda info: setattr(info, "compress_type", zipfile.ZIP_LZMA))
    body = zipped(
        [
            ("a.txt", b"a"),
            (member("link", symlink), b"/etc/passwd"),
            (lzma, b"gates " * 100),
            ("secret.txt", b"b"),
            ("../../etc/passwd", b"c"),
            ("x" * 2000, b"d"),
            ("  ", b"e"),
            ("damaged.txt", b"The upper gate opens at six."),
            ("C:\\a\u202e.txt", b"f"),
            ("nested.zip", zipped([("x", b"x")])),
        ]
    )
    body = encrypted(body, b"secret.txt")
    at = body.index(b"damaged.txt") + len(b"damaged.txt")
    body = body[: at + 4] + bytes([body[at + 4] ^ 0xFF]) + body[at + 5 :]

    answer = await posted(client, body, ZIP, external_ids="path")

    expected = [
        None,
        "unsupported_member",
        "unsupported_member",
        "encrypted_file",
        None,
        "invalid_request",
        "invalid_request",
        "corrupt_file",
        None,
        None,  # Only a look inside tells: it ends FAILED.
    ]
    assert codes(answer["items"]) == expected
    names = [item["name"] for item in answer["items"]]
    assert names[:5] == ["a.txt", "link", "lzma.txt", "secret.txt", "../../etc/passwd"]
    assert names[5:] == ["x" * 1024, None, "damaged.txt", "C:\\a.txt", "nested.zip"]
    passwd = await Document.get(id=answer["items"][4]["document_id"])
    assert (passwd.external_id, passwd.source_name) == ("../../etc/passwd", "passwd")
    assert (await Document.get(id=answer["items"][8]["document_id"])).source_name == "a.txt"


async def test_a_row_that_the_database_refuses_does_not_spoil_its_group(
    client: httpx.AsyncClient, owner: asyncpg.Connection
) -> None:
    await owner.execute(
        """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN RAISE EXCEPTION 'out of luck' USING ERRCODE = '55P03'; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON documents FOR EACH ROW WHEN (NEW.title = 'bad')
            EXECUTE FUNCTION refuse();
        """
    )
    try:
        answer = await posted(
            client, lines({"text": "a"}, {"text": "b", "title": "bad"}, {"text": "c"}), LINES
        )
    finally:
        await owner.execute("DROP TRIGGER refuse ON documents; DROP FUNCTION refuse()")

    assert codes(answer["items"]) == [None, "database_busy", None]
    assert answer["items"][1]["error"]["retryable"]
    assert (answer["created"], answer["failed"], answer["error"]) == (2, 1, None)


async def test_a_database_that_goes_away_ends_the_batch_and_what_is_there_is_told(
    client: httpx.AsyncClient, owner: asyncpg.Connection
) -> None:
    await owner.execute(
        """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN RAISE EXCEPTION 'out of luck' USING ERRCODE = '57P01'; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON documents FOR EACH ROW WHEN (NEW.title = 'bad')
            EXECUTE FUNCTION refuse();
        """
    )
    try:
        body = texts(200) + lines({"text": "b", "title": "bad"}, {"text": "c"}) + texts(300, collection="d")
        answer = await posted(client, body, LINES)
    finally:
        await owner.execute("DROP TRIGGER refuse ON documents; DROP FUNCTION refuse()")

    assert answer["created"] == 200
    assert set(codes(answer["items"][200:])) == {"database_unavailable"}
    assert answer["error"]["code"] == "database_unavailable"
    status = (await client.get(f"/batches/{answer['batch_id']}")).json()
    assert (status["items"], status["error"]) == (len(answer["items"]), answer["error"])


# --- Bodies that break off ---------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [-5, -8, -12, -40])
async def test_a_form_that_is_cut_off_is_taken_as_far_as_it_goes(client: httpx.AsyncClient, cut: int) -> None:
    body, headers = form(*(("file", f"{n}.txt", b"gate %d" % n) for n in range(5)))

    answer = await posted(client, body[:cut], headers)

    assert answer["created"] in {4, 5}
    assert len(answer["items"]) == answer["created"] == await Document.all().count()
    assert answer["error"]["code"] == "invalid_request"
    assert "cut off" in answer["error"]["message"]


async def test_a_form_that_is_broken_in_the_middle_is_taken_as_far_as_it_goes(
    client: httpx.AsyncClient,
) -> None:
    body, headers = form(*(("file", f"{n}.txt", b"gate %d" % n) for n in range(5)))
    at = body.index(b"content-disposition", body.index(b"3.txt") - 60)

    answer = await posted(client, body[:at] + b"\x00" + body[at:], headers)

    assert answer["created"] == 3
    assert answer["error"]["code"] == "invalid_request"


async def test_a_field_after_the_files_is_too_late(client: httpx.AsyncClient) -> None:
    body, headers = form(("file", "a.txt", b"a"), ("metadata", None, b"{}"), ("file", "b.txt", b"b"))

    answer = await posted(client, body, headers)

    assert (answer["created"], answer["error"]["code"]) == (1, "invalid_request")
    assert "before the files" in answer["error"]["message"]


async def test_a_last_line_that_is_cut_off_is_told_like_any_bad_line(client: httpx.AsyncClient) -> None:
    answer = await posted(client, texts(2) + b'{"text": "ga', LINES)

    assert codes(answer["items"]) == [None, None, "invalid_request"]


def half(body: bytes) -> bytes:
    return body[: len(body) // 2]


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"", LINES, 422, "invalid_request"),
        (b"\n \n", LINES, 422, "invalid_request"),
        (b"", ZIP, 422, "corrupt_file"),
        (b"PK\x03\x04 no zip", ZIP, 422, "corrupt_file"),
        (half(zipped([("a.txt", b"a" * 1000)])), ZIP, 422, "corrupt_file"),
        (zipped([("a/", b"")]), ZIP, 422, "invalid_request"),
        (b"x", {"content-type": "multipart/form-data"}, 422, "invalid_request"),
        (b"x", {"content-type": "multipart/form-data; boundary=b"}, 422, "invalid_request"),
        (b"x", {"content-type": "multipart/form-data; boundary=b; charset=punycode"}, 422, "invalid_request"),
        (*form(), 422, "invalid_request"),
        (*form(("metadata", None, b"{")), 422, "invalid_request"),
        (*form(("metadata", None, b'{"k": NaN}')), 422, "invalid_request"),
        (*form(("metadata", None, b'{"k": "' + b"x" * 40_000 + b'"}')), 422, "invalid_request"),
        (*form(("title", None, b"x")), 422, "invalid_request"),
        (b"[]", {"content-type": "application/json"}, 415, "unsupported_body_type"),
        (b"", {}, 415, "unsupported_body_type"),
    ],
    ids=str.split(
        "nothing blank-lines no-zip not-a-zip half-a-zip folders-only no-boundary no-form charset empty-form"
        " half-metadata nan large-metadata title-only array no-type"
    ),
)
async def test_a_body_with_no_document_is_a_problem_and_leaves_no_batch(
    client: httpx.AsyncClient, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    before = await Batch.all().count()
    for accept in ("*/*", "application/x-ndjson"):
        answer = await client.post(URL, content=body, headers=headers | {"accept": accept})

        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
        assert answer.headers["content-type"] == "application/problem+json"
    assert await Batch.all().count() == before


@pytest.mark.parametrize("params", [{"external_ids": "name"}, {"collection": ""}, {"title": "x"}])
async def test_a_bad_parameter_is_refused_before_the_body(
    client: httpx.AsyncClient, params: dict[str, str]
) -> None:
    answer = await client.post(URL, content=texts(1), headers=LINES, params=params)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert await Document.all().count() == 0


# --- Limits ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limits", [{"MAX_BATCH_ITEMS": 3}])
@pytest.mark.parametrize("kind", ["lines", "form", "zip"])
async def test_no_more_items_are_taken_than_a_batch_may_have(client: httpx.AsyncClient, kind: str) -> None:
    files = [(f"{n}.txt", b"gate %d" % n) for n in range(5)]
    body, headers = {
        "lines": lambda: (texts(5), LINES),
        "form": lambda: form(*(("file", *file) for file in files)),
        "zip": lambda: (zipped(files), ZIP),
    }[kind]()

    answer = await posted(client, body, headers)

    assert (answer["created"], answer["error"]["code"]) == (3, "too_many_items")


@pytest.mark.parametrize("limits", [{"MAX_JSON_BYTES": 1000, "MAX_UPLOAD_BYTES": 1000}])
@pytest.mark.parametrize("kind", ["lines", "form", "zip"])
async def test_an_item_has_the_limits_of_a_single_document(client: httpx.AsyncClient, kind: str) -> None:
    files = [("a.txt", b"a"), ("b.txt", b"x" * 1001), ("c.txt", b"c"), ("d.txt", b"y" * 100_000)]
    body, headers = {
        "lines": lambda: (lines(*({"text": content.decode()} for _, content in files)), LINES),
        "form": lambda: form(*(("file", *file) for file in files)),
        "zip": lambda: (zipped(files), ZIP),
    }[kind]()

    answer = await posted(client, body, headers)

    assert codes(answer["items"]) == [None, "payload_too_large", None, "payload_too_large"]


@pytest.mark.parametrize("limits", [{"MAX_BATCH_BYTES": 20_000}])
async def test_a_body_that_goes_on_is_left_at_the_limit(client: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for n in range(1_000_000):
            yield lines({"text": f"gate {n}"})

    answer = (await client.post(URL, content=endless(), headers=LINES)).json()
    announced = await client.post(URL, content=texts(2000), headers=LINES)

    assert answer["error"]["code"] == "payload_too_large"
    assert 500 < answer["created"] == len(answer["items"]) < 1500
    assert (announced.status_code, announced.json()["code"]) == (413, "payload_too_large")


@pytest.mark.parametrize("limits", [{"MAX_BATCH_BYTES": 2_000_000, "MAX_UPLOAD_BYTES": 1_500_000}])
async def test_a_bomb_is_unpacked_as_far_as_a_batch_may_go(client: httpx.AsyncClient) -> None:
    members = [(f"{n}.txt", bytes([65 + n]) * 900_000) for n in range(10)] + [("big.txt", b"x" * 1_600_000)]

    answer = await posted(client, zipped(reversed(members)), ZIP)

    assert codes(answer["items"]) == ["payload_too_large", None, None]
    assert answer["error"]["code"] == "payload_too_large"


@pytest.mark.parametrize("limits", [{"MAX_BATCH_ITEMS": 3}])
async def test_a_zip_that_is_all_directory_is_not_read(client: httpx.AsyncClient) -> None:
    body = zipped((f"{n:0>200}", b"") for n in range(2000))

    answer = await client.post(URL, content=body, headers=ZIP)

    assert (answer.status_code, answer.json()["code"]) == (422, "corrupt_file")


# --- Duplicates, versions, and others at the same time -----------------------------------------------------


async def test_the_same_again_is_known_within_a_batch_and_after_it(client: httpx.AsyncClient) -> None:
    body = lines({"text": "a"}, {"text": "b"}, {"text": "a"}, {"text": "a", "external_id": "x"})

    first = await posted(client, body, LINES)
    again = await posted(client, body, LINES)

    ids = [item["document_id"] for item in first["items"]]
    assert [item["created"] for item in first["items"]] == [True, True, False, True]
    assert ids[0] == ids[2]
    assert len(set(ids)) == 3
    assert (again["created"], again["known"]) == (0, 4)
    assert [item["document_id"] for item in again["items"]] == ids


async def test_versions_come_in_the_order_of_the_body(client: httpx.AsyncClient) -> None:
    one, two = ({"text": text, "external_id": "x"} for text in ("one", "two"))

    answer = await posted(client, lines(one, two, two, one, {"text": "other"}), LINES)

    assert [item["created"] for item in answer["items"]] == [True, True, False, True, True]
    document = await Document.get(external_id="x")
    assert document.version == 3
    assert bytes((await DocumentContent.get(document_id=document.id)).content) == b"one"


async def test_an_update_of_many_files_touches_what_has_changed(
    client: httpx.AsyncClient, send: MagicMock
) -> None:
    files = {f"docs/{n}.txt": b"gate %d" % n for n in range(10)}
    await posted(client, zipped(files.items()), ZIP, external_ids="path")
    send.reset_mock()

    files["docs/3.txt"] += b" opens at six."
    answer = await posted(client, zipped(files.items()), ZIP, external_ids="path")

    assert [item["index"] for item in answer["items"] if item["created"]] == [3]
    assert (answer["created"], answer["known"]) == (1, 9)
    send.assert_called_once_with(answer["items"][3]["document_id"])


async def test_a_failed_document_is_queued_again(client: httpx.AsyncClient, send: MagicMock) -> None:
    first = await posted(client, texts(2), LINES)
    held = await Document.claim(UUID(first["items"][0]["document_id"]), owner="w", lease_s=30)
    assert held is not None
    await held.fail(NoText())
    send.reset_mock()

    again = await posted(client, texts(2), LINES)

    assert [item["status"] for item in again["items"]] == ["PENDING", "PENDING"]
    assert [item["created"] for item in again["items"]] == [False, False]
    send.assert_called_once_with(str(held.id))


async def test_batches_at_once_of_the_same_documents_make_each_once(client: httpx.AsyncClient) -> None:
    documents = [
        {"text": f"gate {n}", "external_id": f"{n}"} if n % 2 else {"text": f"gate {n}"} for n in range(300)
    ]

    answers = await asyncio.gather(
        *(
            posted(client, lines(*(documents if turn % 2 else reversed(documents))), LINES)
            for turn in range(6)
        )
    )

    assert await Document.all().count() == 300
    assert sum(answer["created"] for answer in answers) == 300
    assert [answer["failed"] for answer in answers] == [0] * 6


async def test_what_cannot_be_sent_is_left_to_the_reconciler(
    client: httpx.AsyncClient, send: MagicMock
) -> None:
    send.side_effect = [None, None, ConnectionError("refused")]

    answer = await posted(client, texts(5), LINES)

    taken = await backlog.take_unsent(limit=10, emptied_at=await backlog.now(), late_too=False)
    assert {str(one) for one in taken} >= {item["document_id"] for item in answer["items"][2:]}


# --- As it comes -------------------------------------------------------------------------------------------


@asynccontextmanager
async def streamed(app: FastAPI) -> AsyncIterator[tuple[asyncio.Queue[bytes | None], asyncio.Queue[bytes]]]:
    """A request whose body one writes bit by bit, and whose answer one reads meanwhile."""
    body: asyncio.Queue[bytes | None] = asyncio.Queue()
    answer: asyncio.Queue[bytes] = asyncio.Queue()

    async def receive() -> dict[str, object]:
        block = await body.get()
        return {"type": "http.request", "body": block or b"", "more_body": block is not None}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            answer.put_nowait(message.get("body", b""))

    headers = [(b"content-type", b"application/x-ndjson"), (b"accept", b"application/x-ndjson")]
    scope = {
        "type": "http", "method": "POST", "path": URL, "raw_path": URL.encode(), "query_string": b"",
        "headers": headers, "http_version": "1.1", "scheme": "http", "server": ("sluice", 80),
        "client": ("127.0.0.1", 1), "asgi": {"version": "3.0", "spec_version": "2.3"},
    }  # fmt: skip
    running = asyncio.create_task(app(scope, receive, send))
    yield body, answer
    await running


async def test_an_item_is_durable_and_told_while_the_next_one_is_still_to_come(app: FastAPI) -> None:
    async with streamed(app) as (body, answer):
        for number in range(3):
            body.put_nowait(lines({"text": f"gate {number}"}))
            told = json.loads(await answer.get())
            assert (told["index"], told["error"]) == (number, None)
            assert await Document.filter(id=told["document_id"]).exists()
        body.put_nowait(None)
        assert json.loads(await answer.get())["created"] == 3


async def test_ten_thousand_documents_come_in_one_request(client: httpx.AsyncClient, send: MagicMock) -> None:
    begun = time.monotonic()
    answer = await posted(client, texts(10_000), LINES)

    assert (answer["created"], len(answer["items"]), answer["error"]) == (10_000, 10_000, None)
    assert await Document.all().count() == send.call_count == 10_000
    assert time.monotonic() - begun < 60  # In fact a few seconds; one by one it would be minutes.


# --- What became of it -------------------------------------------------------------------------------------


async def test_a_batch_tells_how_its_documents_are(client: httpx.AsyncClient) -> None:
    answer = await posted(
        client, lines({"text": "a"}, {"text": "b"}, {"text": "c"}, {"text": "a"}, {}), LINES
    )
    url = f"/batches/{answer['batch_id']}"
    one, two, three = (UUID(item["document_id"]) for item in answer["items"][:3])

    async def told() -> tuple[Any, ...]:
        batch = (await client.get(url)).json()
        by_status = tuple(batch["by_status"][status] for status in DocumentStatus)
        return by_status, batch["is_final"], batch["deleted"]

    begun = (await client.get(url)).json()
    assert (begun["items"], begun["created"], begun["known"], begun["failed"]) == (5, 3, 1, 1)
    assert begun["closed_at"] >= begun["created_at"]
    assert await told() == ((3, 0, 0, 0), False, 0)
    await indexed(one, "a")
    held = await Document.claim(two, owner="w", lease_s=30)
    assert held is not None
    assert await told() == ((1, 1, 1, 0), False, 0)
    await held.fail(NoText())
    await client.delete(f"/documents/{three}")

    assert await told() == ((0, 0, 1, 1), True, 1)
    items = (await client.get(f"{url}/items")).json()["items"]
    assert [item["status"] for item in items] == ["COMPLETED", "FAILED", None, "COMPLETED", None]
    assert [item["created"] for item in items] == [True, True, True, False, False]
    assert items[2]["document_id"] is None
    assert items[4]["error"] == answer["items"][4]["error"]


async def test_pages_lead_through_all_items_once(client: httpx.AsyncClient) -> None:
    answer = await posted(client, texts(25), LINES)
    url = f"/batches/{answer['batch_id']}/items"

    seen: list[int] = []
    cursor: str | None = None
    while True:
        page = (await client.get(url, params={"limit": "10"} | ({"cursor": cursor} if cursor else {}))).json()
        seen += [item["index"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert seen == list(range(25))


@pytest.mark.parametrize("path", ["", "/items"])
async def test_a_batch_that_is_not_there_is_a_404(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(f"/batches/{uuid4()}{path}")

    assert (answer.status_code, answer.json()["code"]) == (404, "batch_not_found")


async def test_the_openapi_document_names_the_three_bodies_and_both_answers(
    client: httpx.AsyncClient,
) -> None:
    call = (await client.get("/openapi.json")).json()["paths"][URL]["post"]

    bodies = {"multipart/form-data", "application/x-ndjson", "application/zip"}
    assert call["requestBody"]["content"].keys() == bodies
    assert call["responses"]["200"]["content"].keys() == {"application/json", "application/x-ndjson"}
    assert call["responses"].keys() >= {"200", "408", "413", "415", "422", "503", "507"}


async def test_no_spool_is_left(client: httpx.AsyncClient) -> None:
    body, headers = form(("file", "a.txt", b"a" * 2_000_000), ("file", "b.txt", b"b" * 2_000_000))
    await posted(client, body, headers)

    before = len(list(Path("/proc/self/fd").iterdir()))  # noqa: ASYNC240
    await posted(client, body[:-100], headers)
    await posted(client, zipped([("a.txt", b"a" * 2_000_000), ("b.txt", b"b" * 2_000_000)]), ZIP)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before  # noqa: ASYNC240
