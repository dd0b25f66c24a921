"""Live events over connections that break, and answers that only a server in trouble gives."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from typing import Any
from uuid import UUID

import pytest

from app.client import AsyncSluice, DocumentEvent, Event, ProgressEvent, Ready, Retries, Sluice, errors

QUICK = Retries(tries=3, first_pause_s=0.001)
A, B, C, D = (UUID(int=n) for n in range(4))
Script = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Plays the next script for each request."""

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, ScriptedServer)
        server.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        with suppress(OSError):
            server.scripts.pop(0)(self)

    def log_message(self, *_: object) -> None:
        pass


class ScriptedServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, *scripts: Script) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.scripts = [*scripts]
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"

    @property
    def last_event_ids(self) -> list[str | None]:
        return [headers.get("last-event-id") for _, headers in self.asked]


@contextmanager
def serving(*scripts: Script) -> Iterator[ScriptedServer]:
    server = ScriptedServer(*scripts)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def answer(body: Any, status: int = 200, kind: str = "application/json", **headers: str) -> Script:
    def play(handler: Handler) -> None:
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        handler.send_response(status)
        for name, value in {"content-type": kind, "content-length": str(len(data)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(data)

    return play


def problem(status: int, code: str, *, retryable: bool = False, **headers: str) -> Script:
    said = {"detail": f"It is {code}.", "code": code, "hint": "Do this.", "retryable": retryable}
    return answer({"title": "T", "status": status, **said}, status, "application/problem+json", **headers)


def stream(*events: str) -> Script:
    """Some events, after which the connection is cut in the middle of another one."""

    def play(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        handler.send_header("transfer-encoding", "chunked")
        handler.end_headers()
        for block in ("retry: 1000\n\n", ": \n\n", *events, "event: document\ndata: {"):
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(block.encode()), block.encode()))

    return play


def ready(event_id: str) -> str:
    return f"event: ready\nid: {event_id}\ndata: {{}}\n\n"


def event(document_id: UUID, event_id: str = "", **said: Any) -> str:
    place = f"id: {event_id}\n" if event_id else ""
    data = {"document_id": str(document_id), "status": "PENDING", "stage": "queued", **said}
    return f"event: document\n{place}data: {json.dumps(data)}\n\n"


def progress(document_id: UUID, done: int) -> str:
    data = {
        "document_id": str(document_id),
        "stage": "embedding",
        "progress": {"unit": "chunks", "done": done, "total": 9},
    }
    return f"event: progress\ndata: {json.dumps(data)}\n\n"


BROKEN = (
    stream(ready("1"), event(A), event(B, "2"), event(C), progress(C, 1), "event: moon\ndata: full\n\n"),
    answer("", 503),
    stream(event(C), progress(C, 2), event(D, "3"), event(C, status="COMPLETED", stage=None)),
)


def told(events: list[Event]) -> list[object]:
    return [each.document_id if isinstance(each, DocumentEvent) else type(each) for each in events]


TOLD = [Ready, A, B, C, ProgressEvent, ProgressEvent, D, C]


def test_events_over_broken_connections_are_told_once_each_and_in_order() -> None:
    with serving(*BROKEN) as server, Sluice(server.url, retries=QUICK) as client:
        events = list(islice(client.watch(collections=["a", "b"], statuses=["PENDING"]), len(TOLD)))

    assert told(events) == TOLD
    assert events[2].id == "2"  # type: ignore[union-attr]
    assert server.asked[0][0] == "/events?collection=a&collection=b&status=PENDING"
    assert server.last_event_ids == [None, "2", "2"]


async def test_the_same_for_asyncio_also_when_it_is_left_in_the_middle() -> None:
    with serving(*BROKEN) as server:
        async with AsyncSluice(server.url, retries=QUICK) as client:
            watching = client.watch(last_event_id="0")
            async with asyncio.timeout(10):
                events = [await anext(watching) for _ in TOLD]
            await watching.aclose()

    assert told(events) == TOLD
    assert server.last_event_ids == ["0", "2", "2"]


def test_a_document_is_watched_until_it_is_final() -> None:
    scripts = (stream(event(A, "1")), stream(event(A, "2", status="COMPLETED", stage=None)))
    with serving(*scripts) as server, Sluice(server.url, retries=QUICK) as client:
        events = list(client.watch(A))

    assert [each.status for each in events if isinstance(each, DocumentEvent)] == ["PENDING", "COMPLETED"]
    assert [path for path, _ in server.asked] == [f"/documents/{A}/events"] * 2


def test_a_place_that_is_too_old_and_a_document_that_is_not_there_are_errors() -> None:
    with (
        serving(problem(410, "events_expired"), problem(404, "document_not_found")) as server,
        Sluice(server.url, retries=QUICK) as client,
    ):
        with pytest.raises(errors.EventsExpired):
            next(client.watch(last_event_id="ancient"))
        with pytest.raises(errors.DocumentNotFound):
            next(client.watch(A))


def test_a_server_that_stays_away_ends_it() -> None:
    with serving(stream(ready("1"))) as server, Sluice(server.url, retries=QUICK) as client:
        watching = client.watch()
        assert isinstance(next(watching), Ready)
        server.shutdown()
        server.server_close()
        with pytest.raises(errors.ServerUnreachable):
            next(watching)


# --- Without live events -----------------------------------------------------------------------------------

MOMENT = "2026-11-25T08:00:00Z"


def document(document_id: UUID, status: str, **said: Any) -> dict[str, Any]:
    nothing = ("progress", "external_id", "title", "source_name", "next_attempt_at", "error")
    return {
        **dict.fromkeys(nothing),
        "processing_errors": None,
        "completed_at": None,
        "created_at": MOMENT,
        "updated_at": MOMENT,
        "document_id": str(document_id),
        "status": status,
        "stage": None,
        "searchable": False,
        "collection": "default",
        "version": 1,
        "media_type": "text/plain",
        "size_bytes": 1,
        "sha256": "0",
        "metadata": {},
        "chunk_count": 0,
        "warnings": [],
        "attempt": 0,
        "failures": 0,
        **said,
    }


def page(*documents: dict[str, Any]) -> Script:
    return answer({"documents": documents, "next_cursor": None})


def test_where_there_are_no_live_events_it_looks_again_and_again() -> None:
    scripts = (
        problem(404, "invalid_request"),
        page(document(A, "PENDING")),  # The newest.
        page(document(A, "PENDING"), document(B, "PENDING")),  # What is under way.
        # The first look: a new one that is done already, and one of two under way has gone on.
        page(document(C, "COMPLETED")),
        page(document(A, "PROCESSING", stage="parsing")),
        answer(document(B, "FAILED")),
        # The second: nothing new, and one is not there any more.
        page(),
        page(),
        problem(404, "document_not_found"),
    )
    with serving(*scripts) as server, Sluice(server.url, retries=QUICK, poll_s=0.001) as client:
        events = list(islice(client.watch(), 5))

    assert told(events) == [Ready, C, A, B, A]
    states = [(each.status, each.deleted) for each in events if isinstance(each, DocumentEvent)]
    assert states == [("COMPLETED", False), ("PROCESSING", False), ("FAILED", False), (None, True)]


def test_a_document_is_looked_at_until_it_is_final() -> None:
    scripts = (
        problem(404, "invalid_request"),
        *(answer(document(A, status)) for status in ("PENDING", "PENDING", "COMPLETED")),
    )
    with serving(*scripts) as server, Sluice(server.url, poll_s=0.001) as client:
        events = list(client.watch(A))
    assert [each.status for each in events if isinstance(each, DocumentEvent)] == ["PENDING", "COMPLETED"]


# --- Servers in trouble, and what is none ------------------------------------------------------------------


def test_what_was_not_done_is_asked_for_again_when_the_server_says_so() -> None:
    scripts = (
        problem(503, "database_busy", retryable=True, retry_after="0"),
        answer("slow down", 429, "text/plain", retry_after="Wed, 25 Nov 2020 08:00:00 GMT"),
        answer({"status": "ok"}),
    )
    told: list[str] = []
    with (
        serving(*scripts) as server,
        Sluice(server.url, retries=QUICK, on_pause=lambda error, _: told.append(error.code)) as client,
    ):
        assert client.ready().status == "ok"
    assert len(server.asked) == 3
    assert told == ["database_busy", "too_many_requests"]


def test_a_server_that_wants_more_time_than_there_is_has_its_say() -> None:
    with (
        serving(problem(503, "database_busy", retryable=True, retry_after="3600")) as server,
        Sluice(server.url, retries=QUICK) as client,
        pytest.raises(errors.DatabaseBusy, match=r"It is database_busy\.") as told,
    ):
        client.ready()
    assert (told.value.retry_after_s, told.value.hint, told.value.status) == (3600, "Do this.", 503)


@pytest.mark.parametrize(
    ("script", "kind", "words"),
    [
        (answer("<h1>It works!</h1>", kind="text/html"), errors.UnexpectedAnswer, "no Health"),
        (answer("<h1>Not here</h1>", 404, "text/html"), errors.UnexpectedAnswer, "404 Not Found"),
        (answer("", 401), errors.Unauthorized, "401"),
        (answer("", 302, location="/login"), errors.UnexpectedAnswer, "302"),
    ],
)
def test_an_answer_that_is_none_of_sluices_is_told(script: Script, kind: type[Exception], words: str) -> None:
    with (
        serving(script) as server,
        Sluice(server.url, api_key="secret", retries=QUICK) as client,
        pytest.raises(kind, match=words),
    ):
        client.health()
    assert server.asked[0][1]["authorization"] == "Bearer secret"


def test_a_silent_server_is_told_as_such() -> None:
    silence = threading.Event()
    with (
        serving(*[lambda _: bool(silence.wait(10))] * 3) as server,  # type: ignore[list-item]
        Sluice(server.url, retries=QUICK, timeout_s=0.05) as client,
        pytest.raises(errors.AnswerTooLate, match="GET /healthz"),
    ):
        client.health()
    silence.set()
