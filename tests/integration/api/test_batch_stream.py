"""Batches over a real socket: answers while the body is sent, and bodies sent before an answer is read."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import httpx
import pytest

from app.core.queue import broker
from bench.processes import peak_bytes, reset_peak
from tests.processes import APIProcess, api_process, eventually, worker_process

MEBIBYTE = 1024 * 1024
HEAD = (
    b"POST /ingest/batch?collection=%s HTTP/1.1\r\nhost: a\r\ncontent-type: application/x-ndjson\r\n"
    b"accept: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n"
)


@pytest.fixture(scope="module")
def api(migrated: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[APIProcess]:
    folder = tmp_path_factory.mktemp("api")
    with api_process({"STORAGE_URL": f"file://{folder / 'content'}"}, folder / "log") as process:
        yield process
    broker.flush_all()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def line(text: str) -> bytes:
    return chunk(json.dumps({"text": text}).encode() + b"\n")


def told(answer: bytes) -> list[dict[str, object]]:
    """The lines in a chunked answer."""
    return [json.loads(line) for line in answer.splitlines() if line.startswith(b"{")]


def test_documents_of_a_batch_are_searchable_within_moments(
    api: APIProcess, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("worker")
    broker.flush_all()  # What other tests have left there.
    with worker_process({"SWEEP_S": "60"}, folder / "log", "--processes", "1"):
        body = b"".join(json.dumps({"text": f"fresh {n}"}).encode() + b"\n" for n in range(20))
        answer = httpx.post(
            f"{api.url}/ingest/batch",
            content=body,
            headers={"content-type": "application/x-ndjson"},
            params={"collection": "fresh"},
            trust_env=False,
        ).json()
        batch = f"{api.url}/batches/{answer['batch_id']}"
        status = eventually(lambda: (found := httpx.get(batch, trust_env=False).json())["is_final"] and found)

    assert status["by_status"] == {"PENDING": 0, "PROCESSING": 0, "COMPLETED": 20, "FAILED": 0}


def test_an_answer_comes_while_the_body_is_still_sent(api: APIProcess) -> None:
    with socket.create_connection(("127.0.0.1", api.port), timeout=30) as connection:
        connection.sendall(HEAD % b"duplex")
        answer = b""
        for number in range(3):
            connection.sendall(line(f"gate {number}"))
            while len(told(answer)) <= number:
                answer += connection.recv(65536)
        connection.sendall(b"0\r\n\r\n")
        while block := connection.recv(65536):
            answer += block

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert [item.get("index") for item in told(answer)] == [0, 1, 2, None]
    assert told(answer)[-1]["created"] == 3


def test_who_sends_everything_before_reading_anything_is_answered_all_the_same(api: APIProcess) -> None:
    """An answer of megabytes is more than the sockets between us hold."""
    reset_peak(api.process.pid)
    before = peak_bytes(api.process.pid)
    with socket.create_connection(("127.0.0.1", api.port), timeout=60) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(HEAD % b"simplex")
        for first in range(0, 7000, 500):
            connection.sendall(b"".join(line(f"{n} {'gate ' * 100}") for n in range(first, first + 500)))
        connection.sendall(b"0\r\n\r\n")
        answer = b""
        while block := connection.recv(65536):
            answer += block

    *items, summary = told(answer)
    assert (len(items), summary["created"]) == (7000, 7000)
    assert peak_bytes(api.process.pid) - before < 60 * MEBIBYTE


def test_what_a_client_sent_before_it_went_away_is_kept_and_its_batch_closed(api: APIProcess) -> None:
    with socket.create_connection(("127.0.0.1", api.port), timeout=30) as connection:
        connection.sendall(HEAD % b"gone" + line("gate"))
        head = connection.recv(65536)
        batch = head.split(b"location: ")[1].split()[0].decode()

    status = eventually(
        lambda: (found := httpx.get(api.url + batch, trust_env=False).json())["closed_at"] and found
    )
    assert (status["created"], status["error"]["code"]) == (1, "invalid_request")
