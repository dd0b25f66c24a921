"""The HTTP surface, with a real database."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from unittest.mock import patch
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI

from app.jobs.ingestion_job import process_ingestion
from app.models import backlog
from app.models.document import Document
from app.models.document_content import DocumentContent
from tests.support import saved

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
JSON = {"content-type": "application/json"}
TEXT = "The upper gate opens at six in the morning."


async def test_a_posted_document_is_pending_in_the_database_and_its_job_enqueued(
    client: httpx.AsyncClient,
) -> None:
    with patch.object(process_ingestion, "send") as send:
        answer = await client.post("/ingest", json={"content": TEXT, "title": "Gates"})

    assert answer.status_code == 201
    assert answer.json().keys() == {"document_id", "status"}
    assert answer.json()["status"] == "PENDING"
    document_id = UUID(answer.json()["document_id"])
    assert answer.headers["location"] == f"/documents/{document_id}"
    document = await Document.get(id=document_id)
    assert (document.status, document.title, document.attempt) == ("PENDING", "Gates", 0)
    assert bytes((await DocumentContent.get(document_id=document_id)).content) == TEXT.encode()
    send.assert_called_once_with(str(document_id))


async def test_the_job_is_enqueued_after_the_row_is_committed(client: httpx.AsyncClient) -> None:
    async def rows_seen_by_others() -> int:
        return await Document.all().count()

    counts: list[int] = []

    async def ring(self: object, send: object, document_id: UUID, *, message_id: str) -> None:
        counts.append(await rows_seen_by_others())

    with patch("app.jobs.doorbell.Doorbell.ring", ring):
        await client.post("/ingest", json={"text": TEXT})

    assert counts == [1]


async def test_a_file_is_taken_with_its_name_type_and_fields(client: httpx.AsyncClient) -> None:
    with patch.object(process_ingestion, "send"):
        answer = await client.post(
            "/ingest",
            files={"file": ("../../etc/gate\u202etimes.md", b"# Gates\n\nThe upper gate opens at six.")},
            data={
                "collection": "canal",
                "external_id": "gates",
                "metadata": json.dumps({"season": "summer"}),
            },
        )

    assert answer.status_code == 201
    document = (await client.get(answer.headers["location"])).json()
    assert document["source_name"] == "gatetimes.md"
    assert document["media_type"] == "text/markdown"
    assert (document["collection"], document["external_id"]) == ("canal", "gates")
    assert document["metadata"] == {"season": "summer"}
    assert (document["status"], document["stage"], document["searchable"]) == ("PENDING", "queued", False)


async def test_the_same_text_again_is_answered_with_its_id_and_sent_once(client: httpx.AsyncClient) -> None:
    with patch.object(process_ingestion, "send") as send:
        first = await client.post("/ingest", json={"text": TEXT})
        again = await client.post("/ingest", json={"content": TEXT})
        elsewhere = await client.post("/ingest", json={"text": TEXT, "collection": "other"})

    assert (first.status_code, again.status_code, elsewhere.status_code) == (201, 200, 201)
    assert first.json() == again.json()
    assert elsewhere.json()["document_id"] != first.json()["document_id"]
    assert send.call_count == 2


async def test_equal_bytes_under_two_external_ids_are_two_documents(client: httpx.AsyncClient) -> None:
    with patch.object(process_ingestion, "send"):
        one = await client.post("/ingest", json={"text": TEXT, "external_id": "one"})
        two = await client.post("/ingest", json={"text": TEXT, "external_id": "two"})

    assert (one.status_code, two.status_code) == (201, 201)
    assert one.json()["document_id"] != two.json()["document_id"]


async def test_other_content_under_a_known_external_id_is_its_next_version(client: httpx.AsyncClient) -> None:
    with patch.object(process_ingestion, "send") as send:
        first = await client.post("/ingest", json={"text": TEXT, "external_id": "gates"})
        second = await client.post(
            "/ingest", json={"text": TEXT + " Sundays at seven.", "external_id": "gates"}
        )

    assert second.status_code == 201
    assert first.json()["document_id"] == second.json()["document_id"]
    assert send.call_count == 2
    assert (await client.get(second.headers["location"])).json()["version"] == 2


async def test_a_failed_document_posted_again_is_queued_again(client: httpx.AsyncClient) -> None:
    with patch.object(process_ingestion, "send") as send:
        first = await client.post("/ingest", json={"text": TEXT})
        await Document.cancel(UUID(first.json()["document_id"]))
        again = await client.post("/ingest", json={"text": TEXT})

    assert (again.status_code, again.json()) == (200, first.json())
    assert send.call_count == 2
    document = (await client.get(first.headers["location"])).json()
    assert (document["status"], document["error"], document["failures"]) == ("PENDING", None, 0)


async def test_a_byte_order_mark_before_the_json_does_no_harm(client: httpx.AsyncClient) -> None:
    with patch.object(process_ingestion, "send"):
        answer = await client.post("/ingest", content=b"\xef\xbb\xbf" + b'{"text": "a"}', headers=JSON)

    assert answer.status_code == 201


async def test_metadata_may_speak_of_escapes(client: httpx.AsyncClient) -> None:
    with patch.object(process_ingestion, "send"):
        answer = await client.post("/ingest", json={"text": TEXT, "metadata": {"k": "\\u0000"}})

    assert answer.status_code == 201
    assert (await client.get(answer.headers["location"])).json()["metadata"] == {"k": "\\u0000"}


async def test_a_document_is_accepted_while_redis_refuses(client: httpx.AsyncClient) -> None:
    with patch.object(process_ingestion, "send", side_effect=ConnectionError("refused")):
        answer = await client.post("/ingest", json={"text": TEXT})

    assert answer.status_code == 201
    # The reconciler takes it up at its next sweep, however long the queue is.
    taken = await backlog.take_unsent(limit=10, emptied_at=LONG_AGO, late_too=False)
    assert [str(document_id) for document_id in taken] == [answer.json()["document_id"]]


@pytest.mark.parametrize("limits", [{"INLINE_CONTENT_BYTES": 64}])
async def test_a_large_content_is_stored_as_a_file_and_removed_with_its_document(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    content = TEXT * 100
    with patch.object(process_ingestion, "send"):
        answer = await client.post("/ingest", files={"file": ("gates.txt", content.encode())})
        again = await client.post("/ingest", files={"file": ("gates.txt", content.encode())})

    assert (answer.status_code, again.status_code) == (201, 200)
    document = await Document.get(id=answer.json()["document_id"])
    assert document.content_key is not None
    path = app.state.resources.store.root / document.content_key
    assert path.read_text() == content
    assert [file for file in path.parents[1].rglob("*") if file.is_file()] == [path]

    assert (await client.delete(answer.headers["location"])).status_code == 204
    assert not path.exists()


@pytest.mark.parametrize("limits", [{"INLINE_CONTENT_BYTES": 64}])
async def test_an_update_leaves_no_file_of_the_version_before(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    sizes = [100, 1, 200, 300, 1]
    with patch.object(process_ingestion, "send"):
        for size in sizes:
            await client.post("/ingest", json={"text": TEXT * size, "external_id": "gates"})
            files = [path for path in app.state.resources.store.root.rglob("*") if path.is_file()]
            assert len(files) == (1 if size > 1 else 0)


async def test_a_file_that_cannot_be_removed_does_not_keep_its_document(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    store = app.state.resources.store
    key = (await saved(store, b"gates")).key
    with patch("pathlib.Path.unlink", side_effect=PermissionError(13, "Permission denied")):
        await store.delete(key)
    assert (store.root / key).is_file()
    await store.delete(key)


@pytest.mark.parametrize("limits", [{"MAX_JSON_BYTES": 1000, "MAX_UPLOAD_BYTES": 1000}])
@pytest.mark.parametrize(
    "request_of",
    [
        {"json": {"text": "x" * 1000}},
        {"files": {"file": ("x.txt", b"x" * 1000)}},
        {"content": (b"x" * 100 for _ in range(100)), "headers": {"content-type": "application/json"}},
    ],
    ids=["json", "multipart", "chunked"],
)
async def test_a_body_over_the_limit_is_refused(
    client: httpx.AsyncClient, request_of: dict[str, object]
) -> None:
    if not isinstance(request_of.get("content", b""), bytes):
        blocks = list(request_of["content"])  # type: ignore[call-overload]

        async def chunked() -> AsyncIterator[bytes]:
            for block in blocks:
                yield block

        request_of = {**request_of, "content": chunked()}
    answer = await client.post("/ingest", **request_of)  # type: ignore[arg-type]

    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "payload_too_large"
    assert await Document.all().count() == 0


@pytest.mark.parametrize(
    ("request_of", "status", "code"),
    [
        ({"json": {}}, 422, "invalid_request"),
        ({"json": {"text": "a", "content": "b"}}, 422, "invalid_request"),
        ({"json": {"text": ""}}, 422, "invalid_request"),
        ({"json": {"text": "  \n "}}, 422, "empty_file"),
        ({"json": {"text": "a\x00b"}}, 422, "invalid_request"),
        ({"json": {"text": "a", "titel": "b"}}, 422, "invalid_request"),
        ({"json": {"text": "a", "metadata": {"k": "\x00"}}}, 422, "invalid_request"),
        ({"json": {"text": "a", "metadata": {"k": "v" * 20_000}}}, 422, "invalid_request"),
        ({"json": {"text": "a", "collection": ""}}, 422, "invalid_request"),
        ({"json": {"text": "a", "collection": "  "}}, 422, "invalid_request"),
        ({"json": {"text": "a", "collection": "水" * 67}}, 422, "invalid_request"),
        ({"json": {"text": "a", "external_id": "水" * 342}}, 422, "invalid_request"),
        (
            {"content": b'{"text": "a", "metadata": {"k": [1e999]}}', "headers": JSON},
            422,
            "invalid_request",
        ),
        ({"content": b'{"text": "a", "metadata": {"k": NaN}}', "headers": JSON}, 422, "invalid_request"),
        (
            {"files": {"file": ("a.txt", b"a")}, "data": {"metadata": '{"k": Infinity}'}},
            422,
            "invalid_request",
        ),
        ({"json": ["text"]}, 422, "invalid_request"),
        (
            {"content": b'{"text": "\\ud800"}', "headers": {"content-type": "application/json"}},
            422,
            "invalid_request",
        ),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, 422, "invalid_request"),
        ({"content": b"\xff", "headers": {"content-type": "application/json"}}, 422, "invalid_request"),
        ({"content": b"hello", "headers": {"content-type": "text/plain"}}, 415, "unsupported_body_type"),
        ({"content": b""}, 415, "unsupported_body_type"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 422, "invalid_request"),
        (
            {"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=b"}},
            422,
            "invalid_request",
        ),
        ({"files": {"file": ("empty.txt", b"")}}, 422, "empty_file"),
        (
            {"files": {"file": ("a.txt", b"\x89PNG\r\n\x1a\n" + b"\0" * 100)}},
            415,
            "unsupported_media_type",
        ),
        (
            {"files": {"file": ("a.txt", b"\x89PNG\r\n\x1a\n" + b"\0" * 100_000)}},
            415,
            "unsupported_media_type",
        ),
        ({"files": {"attachment": ("a.txt", b"a")}}, 422, "invalid_request"),
        ({"files": {"file": ("a.txt", b"a")}, "data": {"metadata": "{"}}, 422, "invalid_request"),
        ({"files": {"file": ("a.txt", b"a")}, "data": {"colour": "red"}}, 422, "invalid_request"),
        (
            {"files": [("file", ("a.txt", b"a")), ("file", ("b.txt", b"b"))]},
            422,
            "invalid_request",
        ),
    ],
)
async def test_a_bad_request_is_refused_with_a_code_and_leaves_nothing(
    client: httpx.AsyncClient, request_of: dict[str, object], status: int, code: str
) -> None:
    answer = await client.post("/ingest", **request_of)  # type: ignore[arg-type]

    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json().keys() >= {"type", "title", "status", "detail", "retryable", "hint"}
    assert await Document.all().count() == 0


async def test_mistakes_that_many_make_are_told_with_what_to_do(client: httpx.AsyncClient) -> None:
    bare = await client.post("/search", content=b'{"query": "x"}', headers={"content-type": "text/plain"})
    typo = await client.post("/search", json={"query": "x", "colections": ["a"]})
    empty = await client.post("/ingest", json={"text": ""})
    method = await client.get("/search")
    two = await client.post("/ingest", files=[("file", ("a.txt", b"a")), ("file", ("b.txt", b"b"))])
    zipped = await client.post("/ingest", files={"file": ("a.zip", b"PK\x03\x04" + b"\0" * 100)})
    picture = await client.post("/ingest", files={"file": ("a.png", b"\x89PNG\r\n\x1a\n" + b"\0" * 100)})

    assert "Content-Type: application/json" in bare.json()["detail"]
    assert "/colections: there is no such field" in typo.json()["detail"]
    assert "/text: must not be empty" in empty.json()["detail"]
    assert "GET is not possible here, but POST is" in method.json()["detail"]
    assert "/ingest/batch" in two.json()["detail"]
    assert zipped.status_code in {201, 415}
    assert "OCR" in picture.json()["hint"]


@pytest.mark.parametrize("path", ["/ingest", "/ingest/batch", "/search"])
async def test_a_compressed_body_is_refused_by_its_name(client: httpx.AsyncClient, path: str) -> None:
    content = gzip.compress(b'{"text": "a", "query": "a"}')

    answer = await client.post(path, content=content, headers={**JSON, "content-encoding": "gzip"})
    plain = await client.post(
        "/ingest", content=b'{"text": "a"}', headers={**JSON, "content-encoding": "identity"}
    )

    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_body_type")
    assert answer.json()["detail"] == "No `Content-Encoding` is supported, and the body has one: gzip."
    assert plain.status_code == 201


async def test_what_is_too_long_is_told_in_words_of_ours(client: httpx.AsyncClient) -> None:
    title = await client.post("/ingest", json={"text": "a", "title": "x" * 2001})
    names = await client.post("/search", json={"query": "a", "collections": ["a"] * 101})
    metadata = await client.post("/ingest", json={"text": "a", "metadata": "x"})
    whole = await client.post("/search", json={"query": "a", "collections": ["a" * 300_000]})

    assert title.json()["errors"] == [{"pointer": "/title", "detail": "must have at most 2000 characters"}]
    assert names.json()["errors"] == [{"pointer": "/collections", "detail": "must have at most 100 items"}]
    assert metadata.json()["errors"] == [{"pointer": "/metadata", "detail": "must be a JSON object"}]
    assert (whole.status_code, whole.json()["code"]) == (413, "payload_too_large")
    assert "MAX_JSON_BYTES" not in whole.json()["hint"]


async def test_an_invalid_field_is_pointed_at(client: httpx.AsyncClient) -> None:
    answer = await client.post("/ingest", json={"text": "a", "title": 7})

    assert answer.json()["errors"] == [{"pointer": "/title", "detail": "Input should be a valid string"}]


async def test_an_unknown_document_is_a_404_and_a_malformed_id_a_422(client: httpx.AsyncClient) -> None:
    for method in ("GET", "DELETE"):
        answer = await client.request(method, "/documents/0199c0de-7a11-7c4e-8a55-0242ac120002")
        assert (answer.status_code, answer.json()["code"]) == (404, "document_not_found")
        answer = await client.request(method, "/documents/seven")
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


async def test_an_unknown_path_is_a_problem_too(client: httpx.AsyncClient) -> None:
    answer = await client.get("/nowhere")

    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


async def test_waiting_ends_when_the_document_is_final(client: httpx.AsyncClient) -> None:
    with patch.object(process_ingestion, "send"):
        location = (await client.post("/ingest", json={"text": TEXT})).headers["location"]
    assert (await client.get(location, params={"wait": 0.05})).json()["status"] == "PENDING"

    await Document.cancel(UUID(location.rpartition("/")[2]))

    document = (await client.get(location, params={"wait": 30})).json()
    assert (document["status"], document["error"]["code"]) == ("FAILED", "cancelled")


async def test_a_document_is_cancelled_once_and_retried_once(client: httpx.AsyncClient) -> None:
    with patch.object(process_ingestion, "send") as send:
        location = (await client.post("/ingest", json={"text": TEXT})).headers["location"]
        for _ in range(2):
            cancelled = await client.post(f"{location}/cancel")
            assert (cancelled.status_code, cancelled.json()["error"]["code"]) == (200, "cancelled")
        for _ in range(2):
            retried = await client.post(f"{location}/retry")
            assert (retried.status_code, retried.json()["status"]) == (200, "PENDING")

    assert send.call_count == 2
    for action in ("cancel", "retry"):
        missing = await client.post(f"/documents/0199c0de-7a11-7c4e-8a55-0242ac120002/{action}")
        assert (missing.status_code, missing.json()["code"]) == (404, "document_not_found")


async def test_pages_lead_through_all_documents_once_while_new_ones_arrive(client: httpx.AsyncClient) -> None:
    with patch.object(process_ingestion, "send"):
        for number in range(7):
            await client.post("/ingest", json={"text": f"{TEXT} {number}", "title": str(number)})
        seen: list[str] = []
        cursor = None
        while True:
            page = (
                await client.get("/documents", params={"limit": 3} | ({"cursor": cursor} if cursor else {}))
            ).json()
            seen += [document["title"] for document in page["documents"]]
            await client.post("/ingest", json={"text": f"{TEXT} new {len(seen)}", "title": "new"})
            cursor = page["next_cursor"]
            if cursor is None:
                break

    assert seen == ["6", "5", "4", "3", "2", "1", "0"]


async def test_documents_are_listed_by_status_and_collection(client: httpx.AsyncClient) -> None:
    with patch.object(process_ingestion, "send"):
        kept = (await client.post("/ingest", json={"text": "kept", "collection": "a"})).json()["document_id"]
        gone = (await client.post("/ingest", json={"text": "gone", "collection": "a"})).json()["document_id"]
        await client.post("/ingest", json={"text": "kept", "collection": "b"})
    await Document.cancel(UUID(gone))

    async def listed(**params: str) -> list[str]:
        answer = await client.get("/documents", params=params)
        return [document["document_id"] for document in answer.json()["documents"]]

    assert await listed(status="FAILED") == [gone]
    assert await listed(status="PENDING", collection="a") == [kept]
    assert len(await listed()) == 3
    assert await listed(collection="none") == []


def forged(moment: str) -> str:
    return base64.urlsafe_b64encode(f"{moment} {'0' * 32}".encode()).decode()


@pytest.mark.parametrize(
    "params",
    [
        {"cursor": "x"},
        {"cursor": "AAAA"},
        {"cursor": forged("0001-01-01T00:00+14:00")},
        {"cursor": forged("9999-12-31T23:59-14:00")},
        {"cursor": forged("2026-01-01T00:00")},
        {"status": "DONE"},
        {"limit": "0"},
        {"collection": "\x00"},
    ],
)
async def test_a_bad_page_is_refused(client: httpx.AsyncClient, params: dict[str, str]) -> None:
    answer = await client.get("/documents", params=params)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


async def test_an_empty_database_answers_searches_with_nothing(client: httpx.AsyncClient) -> None:
    answer = await client.post("/search", json={"query": "gates"})

    assert (answer.status_code, answer.json()) == (200, {"hits": []})


async def test_the_openapi_document_names_both_bodies_and_the_problems(client: httpx.AsyncClient) -> None:
    ingest = (await client.get("/openapi.json")).json()["paths"]["/ingest"]["post"]

    assert ingest["requestBody"]["content"].keys() == {"application/json", "multipart/form-data"}
    assert ingest["requestBody"]["content"]["application/json"]["example"]["text"]
    assert ingest["responses"].keys() >= {"200", "201", "413", "415", "422", "503", "507"}


async def test_every_reference_of_the_openapi_document_leads_somewhere(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()

    def check(node: object) -> None:
        if isinstance(node, dict):
            if isinstance(reference := node.get("$ref"), str):
                found = document
                for part in reference.removeprefix("#/").split("/"):
                    found = found[part]
            for value in node.values():
                check(value)
        if isinstance(node, list):
            for value in node:
                check(value)

    check(document)
    assert {"Problem", "IngestRequest"} <= document["components"]["schemas"].keys()


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_the_pages_load_nothing_from_elsewhere(client: httpx.AsyncClient, path: str) -> None:
    page = await client.get(path)

    assert page.status_code == 200
    assets = re.findall(r'(?:src|href)="([^"#]+)"', page.text)
    assert len(assets) >= 3
    for asset in assets:
        assert asset.startswith("/")
        assert (await client.get(asset)).status_code == 200


async def test_a_search_has_a_bounded_body(client: httpx.AsyncClient) -> None:
    answer = await client.post("/search", json={"query": "x" * 300_000})

    assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")


@pytest.mark.parametrize("body", [b"\xff", b"{", b"[]", b'{"query": " "}', b'{"query": "\\ud800"}'])
async def test_a_bad_search_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post("/search", content=body, headers=JSON)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


@pytest.mark.parametrize(("name", "limit"), [("collection", 200), ("external_id", 1024)])
async def test_a_filter_longer_than_any_name_is_a_malformed_request(
    client: httpx.AsyncClient, name: str, limit: int
) -> None:
    assert (await client.get("/documents", params={name: "x" * limit})).json()["documents"] == []
    refused = await client.get("/documents", params={name: "ä" * (limit // 2 + 1)})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")


async def test_documents_are_found_by_their_external_id_and_unknown_filters_refused(
    client: httpx.AsyncClient,
) -> None:
    with patch.object(process_ingestion, "send"):
        for name in ("one", "two"):
            await client.post("/ingest", json={"text": TEXT, "external_id": name})

    found = (await client.get("/documents", params={"external_id": "two"})).json()["documents"]
    assert [document["external_id"] for document in found] == ["two"]
    assert (await client.get("/documents", params={"external": "two"})).status_code == 422


async def test_it_is_alive_and_ready(client: httpx.AsyncClient) -> None:
    assert (await client.get("/healthz")).json() == {"status": "ok"}
    assert (await client.get("/readyz")).json() == {"status": "ok"}
