"""What the demo asks and shows; the API is a table of answers."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from app.cli.demo import SAMPLES, next_free_port
from app.cli.demo_client import DemoClient, Hit, Ingest
from app.cli.demo_screen import IngestScreen, line, place_of, show_hits, snippet_of, state_of
from app.cli.stack import StackOptions

ANSWERS = {
    "PENDING": {"status": "PENDING", "stage": "queued", "chunk_count": 0, "error": None},
    "PROCESSING": {"status": "PROCESSING", "stage": "embedding", "chunk_count": 0, "error": None},
    "COMPLETED": {"status": "COMPLETED", "stage": None, "chunk_count": 3, "error": None},
    "FAILED": {
        "status": "FAILED",
        "stage": None,
        "chunk_count": 0,
        "error": {"code": "no_text", "message": "The file has no text in it.", "hint": "Try OCR."},
    },
}


class FakeAPI:
    """Answers `POST /ingest` and then one state after the other."""

    def __init__(self, *states: str, status_code: int = 201) -> None:
        self._states: Iterator[str] = iter(states)
        self._status_code = status_code

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/ingest":
            return httpx.Response(self._status_code, json={"document_id": "7", "status": "PENDING"})
        if request.url.path == "/search":
            query = json.loads(request.content)
            hit = {
                "text": query["query"],
                "score": 0.5,
                "citation": {"title": "T", "source": "a.md", "page": 2},
            }
            return httpx.Response(200, json={"hits": [hit] * query["top_k"]})
        return httpx.Response(200, json=ANSWERS[next(self._states)])

    def client(self) -> DemoClient:
        return DemoClient(httpx.AsyncClient(transport=httpx.MockTransport(self), base_url="http://api"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.md"
    path.write_text("hello")
    return path


async def test_a_file_is_followed_through_its_stages_to_the_end(file: Path) -> None:
    shown: list[Ingest] = []
    api = FakeAPI("PENDING", "PROCESSING", "COMPLETED")
    ingest = await api.client().ingest(file, shown.append)
    assert ingest.is_completed
    assert ingest.chunks == 3
    assert [state_of(step) for step in shown] == [
        "sending",
        "PENDING queued",
        "PROCESSING embedding",
        "COMPLETED",
    ]


async def test_a_known_file_is_already_there(file: Path) -> None:
    ingest = await FakeAPI("COMPLETED", status_code=200).client().ingest(file, lambda _: None)
    assert state_of(ingest) == "already there"


async def test_a_failure_is_shown_with_its_code_and_what_to_do(file: Path) -> None:
    ingest = await FakeAPI("FAILED").client().ingest(file, lambda _: None)
    assert not ingest.is_completed
    assert "no_text: The file has no text in it. Try OCR." in line(ingest)


async def test_a_refusal_is_a_failure_like_any_other(file: Path) -> None:
    problem = {
        "title": "Too large",
        "detail": "It is too large.",
        "code": "payload_too_large",
        "hint": "Split it.",
    }
    transport = httpx.MockTransport(lambda _: httpx.Response(413, json=problem))
    client = DemoClient(httpx.AsyncClient(transport=transport, base_url="http://api"))
    ingest = await client.ingest(file, lambda _: None)
    assert (ingest.status, ingest.code, ingest.hint) == ("FAILED", "payload_too_large", "Split it.")


async def test_a_document_deleted_while_we_wait_is_a_failure(file: Path) -> None:
    def api(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(201, json={"document_id": "7", "status": "PENDING"})
        return httpx.Response(404, json={"code": "document_not_found", "detail": "There is none."})

    http = httpx.AsyncClient(transport=httpx.MockTransport(api), base_url="http://api")
    ingest = await DemoClient(http).ingest(file, lambda _: None)
    assert ingest.code == "document_not_found"


async def test_hits_come_with_their_place() -> None:
    (hit,) = await FakeAPI().client().search("why?", top_k=1)
    assert place_of(hit) == "a.md, page 2"


def test_off_the_terminal_there_are_lines_without_control_characters(file: Path) -> None:
    out = io.StringIO()
    console = Console(file=out, highlight=False)
    with IngestScreen(console, [file]) as screen:
        screen.show(Ingest(file, status="PROCESSING"))
        screen.show(Ingest(file, status="COMPLETED", chunks=2, elapsed_ms=70))
    show_hits(console, "Why?", [Hit("be\x1b[31mcause\n" + "of it " * 60, 0.25, "a.md", None)])
    show_hits(console, "And?", [])
    text = out.getvalue()
    assert all(character == "\n" or character.isprintable() for character in text)
    assert text.count("a.md") == 2
    assert "COMPLETED" in text
    assert "Nothing was found." in text


def test_on_the_terminal_there_is_a_table(file: Path) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120, color_system=None)
    failed = Ingest(file, status="FAILED", code="no_text", message="No text.", hint="OCR.")
    with IngestScreen(console, [file]) as screen:
        screen.show(Ingest(file, status="PROCESSING", stage="parsing"))
        screen.show(failed)
    show_hits(console, "Why?", [Hit("because", 0.25, "a.md", 4)])
    text = out.getvalue()
    assert "no_text: No text. OCR." in text
    assert "a.md, page 4" in text


def test_a_snippet_ends_at_a_word() -> None:
    assert snippet_of(Hit("word " * 100, 0, "", None), "").endswith("word …")
    assert snippet_of(Hit("short\n text", 0, "", None), "") == "short text"


def test_a_snippet_begins_where_the_question_is_answered() -> None:
    text = (
        "It was a fine day. " * 20 + "The pinions are greased with mutton tallow. " + "Then it rained. " * 20
    )
    snippet = snippet_of(Hit(text, 0, "", None), "Which grease is used for the pinion?")
    assert snippet.startswith("… The pinions are greased with mutton tallow.")
    assert snippet.endswith(" …")


def test_a_taken_port_is_passed_over(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        options = StackOptions(data=tmp_path, host="127.0.0.1", port=port, workers=1)
        assert next_free_port(options) > port


def test_an_address_of_another_machine_is_left_to_the_start(tmp_path: Path) -> None:
    options = StackOptions(data=tmp_path, host="192.0.2.1", port=8000, workers=1)
    assert next_free_port(options) == 8000


def test_addresses_for_clients_are_ones_they_can_reach(tmp_path: Path) -> None:
    options = StackOptions(data=tmp_path, host="0.0.0.0", port=80, workers=1)
    assert options.url == "http://127.0.0.1:80"
    assert replace(options, host="::").url == "http://[::1]:80"
    assert replace(options, host="box").url == "http://box:80"


def test_the_samples_are_many_and_small() -> None:
    files = [path for path in SAMPLES.iterdir() if path.name != "README.md"]
    assert len({path.suffix for path in files}) >= 10
    assert all(path.stat().st_size < 60_000 for path in files)
