"""What a hostile or broken client can send, to a real API process over a real socket."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path

import httpx
import pytest

from app.api.body_limit import LIMIT_BYTES, LINGER_BYTES
from app.core.config import Settings
from bench.endless_upload import FORM_HEAD, JSON_HEAD, endless, pour, request_head
from bench.processes import peak_bytes, reset_peak
from tests.processes import APIProcess, api_process

MEBIBYTE = 1024 * 1024
LIMITS = {
    "MAX_UPLOAD_BYTES": 4 * MEBIBYTE,
    "MAX_JSON_BYTES": 2 * MEBIBYTE,
    "MAX_BATCH_BYTES": 16 * MEBIBYTE,
}
PATIENCE_S = 0.5
#: What the kernel holds on both sides of a connection, and what we read on so that the answer is seen.
UNDER_WAY_BYTES = LINGER_BYTES + 16 * MEBIBYTE

FORM = "multipart/form-data; boundary=b"


@pytest.fixture(scope="module")
def api(migrated: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[APIProcess]:
    folder = tmp_path_factory.mktemp("api")
    environment = {
        **{name: str(value) for name, value in LIMITS.items()},
        "BODY_PATIENCE_S": str(PATIENCE_S),
        "STORAGE_URL": f"file://{folder / 'content'}",
    }
    with api_process(environment, folder / "log") as process:
        yield process


@pytest.fixture
def known(api: APIProcess) -> Iterator[set[str]]:
    """The documents that are there; the test must add none."""

    def listed() -> set[str]:
        answer = httpx.get(f"{api.url}/documents", params={"limit": 500}, trust_env=False)
        return {document["document_id"] for document in answer.json()["documents"]}

    before = listed()
    yield before
    assert listed() == before


def talk(api: APIProcess, *sent: bytes) -> bytes:
    """Send, and read until the server hangs up."""
    with socket.create_connection(("127.0.0.1", api.port), timeout=30) as connection:
        for part in sent:
            connection.sendall(part)
        answer = b""
        while block := connection.recv(65536):
            answer += block
    return answer


def told(answer: bytes) -> tuple[int, str]:
    """Status and code of an answer; the connection ended with it."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"\r\nconnection: close" in head, head
    return int(head.split()[1]), json.loads(body)["code"]


@pytest.mark.parametrize(
    ("request_line", "content_type", "head", "limit"),
    [
        ("POST /ingest", "application/json", JSON_HEAD, LIMITS["MAX_JSON_BYTES"]),
        ("POST /ingest", FORM, FORM_HEAD, LIMITS["MAX_UPLOAD_BYTES"]),
        ("POST /ingest", FORM, b'--b\r\ncontent-disposition: form-data; name="file"\r\n\r\n', None),
        ("POST /ingest/batch", "application/x-ndjson", JSON_HEAD, LIMITS["MAX_BATCH_BYTES"]),
        ("POST /ingest/batch", FORM, FORM_HEAD, LIMITS["MAX_BATCH_BYTES"]),
        ("POST /ingest/batch", "application/zip", b"PK", LIMITS["MAX_BATCH_BYTES"]),
        ("POST /search", "application/json", b'{"query": "', LIMIT_BYTES),
        ("GET /documents", "text/plain", b"x", LIMIT_BYTES),
        ("DELETE /nowhere", "text/plain", b"x", LIMIT_BYTES),
    ],
    ids=["json", "file", "field", "line", "batch file", "zip", "search", "list", "nowhere"],
)
@pytest.mark.usefixtures("known")
def test_a_body_without_an_end_is_stopped_at_the_limit(
    api: APIProcess, request_line: str, content_type: str, head: bytes, limit: int | None
) -> None:
    reset_peak(api.process.pid)
    before = peak_bytes(api.process.pid)

    poured = pour(
        api.port,
        request_head(request_line, content_type),
        endless(head),
        at_most_bytes=10 * 1024 * MEBIBYTE,
    )

    assert told(poured.answer) == ((413, "payload_too_large") if limit else (422, "invalid_request"))
    assert not poured.is_reset
    assert poured.sent_bytes < (limit or 0) + UNDER_WAY_BYTES
    assert peak_bytes(api.process.pid) - before < 20 * MEBIBYTE


@pytest.mark.parametrize(
    ("path", "content_type", "status"),
    [("/ingest", "application/json", 413), ("/ingest", FORM, 413), ("/search", "application/json", 413)],
)
def test_a_body_that_is_announced_as_too_large_is_not_waited_for(
    api: APIProcess, path: str, content_type: str, status: int
) -> None:
    answer = talk(
        api,
        f"POST {path} HTTP/1.1\r\nhost: a\r\ncontent-type: {content_type}\r\n"
        f"content-length: 99999999999\r\nexpect: 100-continue\r\n\r\n".encode(),
    )

    assert answer.startswith(b"HTTP/1.1 413 ")  # And no `100 Continue` before it.
    assert told(answer) == (status, "payload_too_large")


@pytest.mark.usefixtures("known")
def test_a_body_in_chunks_is_counted_however_small_it_is_announced(api: APIProcess) -> None:
    head = request_head("POST /ingest", "application/json")

    poured = pour(
        api.port,
        head.replace(b"\r\n\r\n", b"\r\ncontent-length: 20\r\n\r\n"),
        endless(JSON_HEAD),
        at_most_bytes=10 * 1024 * MEBIBYTE,
    )

    assert told(poured.answer) == (413, "payload_too_large")
    assert poured.sent_bytes < LIMITS["MAX_JSON_BYTES"] + UNDER_WAY_BYTES


def test_a_body_of_a_kind_that_is_not_taken_is_not_read(api: APIProcess, known: set[str]) -> None:
    poured = pour(
        api.port,
        request_head("POST /ingest", "text/plain"),
        endless(b"x"),
        at_most_bytes=10 * 1024 * MEBIBYTE,
    )

    assert told(poured.answer) == (415, "unsupported_body_type")
    assert poured.sent_bytes < UNDER_WAY_BYTES


def test_who_sends_everything_before_listening_sees_the_413_too(api: APIProcess, known: set[str]) -> None:
    body = endless(JSON_HEAD)
    answer = talk(
        api, request_head("POST /ingest", "application/json"), *(next(body) for _ in range(10)), b"0\r\n\r\n"
    )

    assert told(answer) == (413, "payload_too_large")


def test_more_than_was_announced_is_no_part_of_the_document(api: APIProcess) -> None:
    body = b'{"text": "The gate is shut on Mondays."}'
    request = (
        b"POST /ingest HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    )

    answer = talk(api, request % len(body) + body + b"no request at all\r\n\r\n")

    first, _, second = answer.partition(b"HTTP/1.1 400")
    assert first.startswith(b"HTTP/1.1 20")
    assert second
    location = first.split(b"location: ")[1].split()[0].decode()
    assert httpx.get(api.url + location, trust_env=False).json()["size_bytes"] == len(body) - len(
        '{"text": ""}'
    )


@pytest.mark.parametrize(
    ("content_type", "head"), [("application/json", JSON_HEAD), (FORM, FORM_HEAD)], ids=["json", "form"]
)
def test_a_client_that_goes_away_in_the_middle_leaves_nothing(
    api: APIProcess, known: set[str], content_type: str, head: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", api.port), timeout=30) as connection:
        connection.sendall(request_head("POST /ingest", content_type) + next(endless(head)))
    assert httpx.get(f"{api.url}/readyz", trust_env=False).is_success


@pytest.mark.parametrize(
    ("path", "content_type", "head"),
    [
        ("/ingest", "application/json", JSON_HEAD),
        ("/ingest", FORM, FORM_HEAD),
        ("/ingest/batch", "application/x-ndjson", JSON_HEAD),
        ("/ingest/batch", FORM, FORM_HEAD),
        ("/ingest/batch", "application/zip", b"PK"),
        ("/search", "application/json", b"{"),
    ],
    ids=["json", "form", "line", "batch file", "zip", "search"],
)
def test_a_body_that_stops_coming_is_given_up(
    api: APIProcess, known: set[str], path: str, content_type: str, head: bytes
) -> None:
    answer = talk(api, request_head(f"POST {path}", content_type), next(endless(head)))

    assert told(answer) == (408, "request_too_slow")
    assert b"retry-after" in answer


def test_a_body_that_trickles_is_given_up_although_it_never_pauses(api: APIProcess, known: set[str]) -> None:
    trickle = repeat(b"1\r\nx\r\n")
    with socket.create_connection(("127.0.0.1", api.port), timeout=30) as connection:
        connection.sendall(request_head("POST /search", "application/json"))
        connection.settimeout(0.01)  # Half a byte in the time that a byte may take: it gains nothing by it.
        answer = b""
        for byte in trickle:
            try:
                connection.sendall(byte)
                answer = connection.recv(65536)
                break
            except TimeoutError:
                continue
        connection.settimeout(30)
        while block := connection.recv(65536):
            answer += block

    assert told(answer) == (408, "request_too_slow")


@pytest.mark.parametrize(
    "head",
    [
        b"GET /documents?cursor=" + b"x" * 10 * MEBIBYTE,
        b"GET /healthz HTTP/1.1\r\nhost: a\r\n" + b"x: y\r\n" * MEBIBYTE,
        b"POST /search HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n"
        + b"x: y\r\n" * MEBIBYTE,
        b"POST /search HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1;" + b"x" * 10 * MEBIBYTE,
    ],
    ids=["address", "headers", "trailers", "chunk extension"],
)
def test_the_head_of_a_request_is_bounded(api: APIProcess, head: bytes) -> None:
    reset_peak(api.process.pid)
    before = peak_bytes(api.process.pid)

    poured = pour(
        api.port, b"", (head[i : i + 65536] for i in range(0, len(head), 65536)), at_most_bytes=len(head)
    )

    assert poured.answer == b"" or poured.status in {400, 413}, poured.answer
    assert poured.sent_bytes < len(head)
    assert peak_bytes(api.process.pid) - before < 2 * MEBIBYTE


def test_a_connection_serves_the_next_request_after_a_body_that_was_read(api: APIProcess) -> None:
    with httpx.Client(base_url=api.url, trust_env=False) as client:
        for method, path in [("POST", "/ingest"), ("POST", "/search"), ("GET", "/documents"), ("GET", "/no")]:
            answer = client.request(method, path, content=b"{}", headers={"content-type": "application/json"})
            assert "connection" not in answer.headers, (path, answer.headers)


async def test_many_endless_bodies_at_once_cost_no_more_than_their_spools(
    api: APIProcess, known: set[str]
) -> None:
    reset_peak(api.process.pid)
    before = peak_bytes(api.process.pid)

    def one(number: int) -> int:
        content_type, head = (FORM, FORM_HEAD) if number % 2 else ("application/json", JSON_HEAD)
        request = request_head("POST /ingest", content_type)
        return pour(api.port, request, endless(head), at_most_bytes=10 * 1024 * MEBIBYTE).status

    statuses = await asyncio.gather(*(asyncio.to_thread(one, number) for number in range(8)))

    assert set(statuses) == {413}
    assert peak_bytes(api.process.pid) - before < 40 * MEBIBYTE


def test_json_that_is_all_brackets_is_refused_before_it_fills_the_memory(
    api: APIProcess, known: set[str]
) -> None:
    body = b'{"text": "a", "metadata": {"a": [' + b"[]," * (600 * 1024) + b"[]]}}"
    reset_peak(api.process.pid)
    before = peak_bytes(api.process.pid)

    answer = httpx.post(
        f"{api.url}/ingest", content=body, headers={"content-type": "application/json"}, trust_env=False
    )

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert peak_bytes(api.process.pid) - before < 15 * MEBIBYTE


def test_a_log_is_quiet_about_clients_that_misbehave(api: APIProcess, settings: Settings) -> None:
    assert "Traceback" not in Path(api.log_path).read_text()
