"""The embedder against a real HTTP server that says what each test tells it to."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import SecretStr

from app.embedding.openai import BLANK, OpenAIEmbedder
from app.embedding.token_estimate import estimate_token_offsets
from app.errors import EmbedderRefused, EmbedderUnavailable, StartupError
from tests.support import as_pairs

KEY = "sk-proj-0123456789abcdef-secret"
DIMENSIONS = 4


@dataclass
class Reply:
    """What the server sends; a body of None echoes the texts as vectors."""

    status: int = 200
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    promised_bytes: int | None = None  # Content-Length, where it is not the body's.


@dataclass
class Seen:
    path: str
    headers: dict[str, str]
    payload: dict[str, Any]
    port: int

    @property
    def texts(self) -> list[str]:
        texts: list[str] = self.payload["input"]
        return texts


class Service(ThreadingHTTPServer):
    """An embedding service: replies as scripted, then as it should."""

    daemon_threads = True
    # Handlers of tests that hang up are let go, not waited for.
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[Reply] = []
        self.seen: list[Seen] = []
        self.lock = threading.Lock()
        self.gate = threading.Event()  # Replies are held back while it is clear.
        self.gate.set()
        self.arrivals = threading.Semaphore(0)
        self.waiting = 0
        self.most_waiting = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def take(self, seen: Seen) -> Reply:
        with self.lock:
            self.seen.append(seen)
            self.waiting += 1
            self.most_waiting = max(self.most_waiting, self.waiting)
            reply = self.script.pop(0) if self.script else Reply()
        self.arrivals.release()
        self.gate.wait(10)
        with self.lock:
            self.waiting -= 1
        return reply

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are part of these tests."""


class Handler(BaseHTTPRequestHandler):
    server: Service
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        reply = self.server.take(Seen(self.path, dict(self.headers), payload, self.client_address[1]))
        body = answer(payload["input"]) if reply.body is None else reply.body
        self.send_response_only(reply.status)  # Without a Date of its own.
        promised = len(body) if reply.promised_bytes is None else reply.promised_bytes
        for name, value in {"Content-Length": str(promised), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = promised != len(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


def vector_of(text: str) -> list[float]:
    """Tells texts apart, and is not of length 1."""
    return [float(len(text)), float(sum(map(ord, text)) % 97), 3.0, 4.0]


def answer(texts: Sequence[str], embed: Callable[[str], object] = vector_of) -> bytes:
    items = [{"object": "embedding", "index": at, "embedding": embed(text)} for at, text in enumerate(texts)]
    return json.dumps({"object": "list", "data": items}).encode()


def expected(texts: Sequence[str]) -> NDArray[np.float64]:
    vectors = np.array([vector_of(text) for text in texts])
    unit: NDArray[np.float64] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def error_body(message: str) -> bytes:
    return json.dumps({"error": {"message": message, "type": "invalid_request_error"}}).encode()


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as service:
        thread = threading.Thread(target=service.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield service
        service.gate.set()
        service.shutdown()
        thread.join()


Make = Callable[..., OpenAIEmbedder]


@pytest.fixture
async def make(service: Service, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Make]:
    """Makes embedders that wait for milliseconds where a real one waits for seconds."""
    # Loading all certificates of the world takes most of a test's time, and plain HTTP needs none.
    monkeypatch.setattr(ssl, "create_default_context", lambda **_: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    made: list[OpenAIEmbedder] = []

    def make(**changes: Any) -> OpenAIEmbedder:
        arguments: dict[str, Any] = {
            "url": service.url,
            "model": "tiny",
            "api_key": SecretStr(KEY),
            "dimensions": DIMENSIONS,
            "max_tokens": 100,
            "timeout_s": 5,
            "batch_size": 64,
            "backoff_s": 0.001,
        }
        made.append(OpenAIEmbedder(**arguments | changes))
        return made[-1]

    yield make
    for embedder in made:
        await embedder.close()


async def arrival_of(requests: int, service: Service) -> None:
    for _ in range(requests):
        assert await asyncio.to_thread(service.arrivals.acquire, timeout=5)


# --- What is sent ------------------------------------------------------------------------------------------


async def test_request_is_the_one_that_the_interface_describes(service: Service, make: Make) -> None:
    await make().embed(["one", "two"])

    (seen,) = service.seen
    assert seen.path == "/v1/embeddings"
    assert seen.payload == {"model": "tiny", "input": ["one", "two"]}
    assert seen.headers["Authorization"] == f"Bearer {KEY}"


async def test_dimensions_are_sent_only_when_asked_for(service: Service, make: Make) -> None:
    await make(send_dimensions=True).embed(["one"])

    assert service.seen[0].payload["dimensions"] == DIMENSIONS


@pytest.mark.parametrize("key", [None, ""])
async def test_no_key_means_no_header(service: Service, make: Make, key: str | None) -> None:
    await make(api_key=key).embed(["one"])

    assert "Authorization" not in service.seen[0].headers


async def test_name_and_password_in_the_url_are_sent_and_never_shown(
    service: Service, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore"):
        caplog.set_level(logging.DEBUG, logger=name)
    service.script = [Reply(404)]
    embedder = make(url=service.url.replace("//", "//reader:hush-hush@"), api_key=None)

    with pytest.raises(EmbedderRefused) as refused:
        await embedder.embed(["one"])

    credentials = base64.b64encode(b"reader:hush-hush").decode()
    assert service.seen[0].headers["Authorization"] == f"Basic {credentials}"
    assert "hush-hush" not in str(refused.value) + caplog.text


async def test_no_texts_need_no_request(service: Service, make: Make) -> None:
    vectors = await make().embed([])

    assert vectors.shape == (0, DIMENSIONS)
    assert vectors.dtype == np.float32
    assert service.seen == []


async def test_texts_go_out_in_batches_and_come_back_in_order(service: Service, make: Make) -> None:
    texts = [f"passage {number}" for number in range(50)]

    vectors = await make(batch_size=7).embed(texts)

    np.testing.assert_allclose(vectors, expected(texts), rtol=1e-5)
    assert sorted(len(seen.texts) for seen in service.seen) == [1, *[7] * 7]


async def test_request_holds_no_more_tokens_than_its_budget(service: Service, make: Make) -> None:
    # Two tokens each; the last one is over the budget by itself, and goes alone.
    await make(request_tokens=5).embed([*["lock gate"] * 5, "one two six ten red sea"])

    assert sorted(len(seen.texts) for seen in service.seen) == [1, 1, 2, 2]


async def test_no_more_requests_are_under_way_than_allowed(service: Service, make: Make) -> None:
    service.gate.clear()
    embedder = make(batch_size=1, parallel_requests=3)

    calls = [asyncio.create_task(embedder.embed(["one", "two", "three"])) for _ in range(3)]
    await arrival_of(3, service)
    service.gate.set()
    await asyncio.gather(*calls)

    assert len(service.seen) == 9
    assert service.most_waiting == 3


async def test_long_text_is_cut_by_the_estimate(service: Service, make: Make) -> None:
    await make(max_tokens=3).embed(["one two six ten", "one two six"])

    assert service.seen[0].texts == ["one two six", "one two six"]


@pytest.mark.parametrize("blank", ["", "  \n"])
async def test_blank_text_is_sent_as_a_full_stop(service: Service, make: Make, blank: str) -> None:
    vectors = await make().embed([blank])

    assert service.seen[0].texts == [BLANK]
    assert np.linalg.norm(vectors[0]) == pytest.approx(1)


async def test_half_a_surrogate_pair_fails_no_request(service: Service, make: Make) -> None:
    await make().embed(["a\ud800b"])

    assert service.seen[0].texts == ["a?b"]


def test_tokens_are_the_estimated_ones(make: Make) -> None:
    text = "The lock, 1234."

    assert as_pairs(make())(text) == estimate_token_offsets(text)


# --- What comes back ---------------------------------------------------------------------------------------


async def test_vectors_are_of_length_1_in_float32(make: Make) -> None:
    vectors = await make().embed(["one", "three"])

    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)


async def test_shuffled_answer_is_put_in_order(service: Service, make: Make) -> None:
    texts = ["one", "three", "seventeen"]
    body = json.loads(answer(texts))
    body["data"].reverse()
    service.script = [Reply(body=json.dumps(body).encode())]

    vectors = await make().embed(texts)

    np.testing.assert_allclose(vectors, expected(texts), rtol=1e-5)


async def test_answer_without_numbers_is_in_the_order_of_the_texts(service: Service, make: Make) -> None:
    items = [{"embedding": vector_of(text)} for text in ("one", "three")]
    service.script = [Reply(body=json.dumps({"data": items}).encode())]

    np.testing.assert_allclose(await make().embed(["one", "three"]), expected(["one", "three"]), rtol=1e-5)


async def test_vectors_in_base64_are_understood(service: Service, make: Make) -> None:
    def encoded(text: str) -> str:
        return base64.b64encode(np.array(vector_of(text), "<f4").tobytes()).decode()

    service.script = [Reply(body=answer(["one", "three"], encoded))]

    np.testing.assert_allclose(await make().embed(["one", "three"]), expected(["one", "three"]), rtol=1e-5)


async def test_tiny_numbers_keep_their_direction(service: Service, make: Make) -> None:
    service.script = [Reply(body=answer(["one"], lambda _: [1e-30] * 4))]

    np.testing.assert_allclose(await make().embed(["one"]), [[0.5] * 4], rtol=1e-6)


async def test_wrong_dimension_is_refused_with_the_setting_that_mends_it(
    service: Service, make: Make
) -> None:
    with pytest.raises(EmbedderRefused, match=r"have 4 dimensions and EMBEDDER_DIMENSIONS is 1536"):
        await make(dimensions=1536).embed(["one"])

    assert len(service.seen) == 1


@pytest.mark.parametrize(
    "vector",
    [
        [float("nan")] * 4,
        [float("inf"), 1, 1, 1],
        [0, 0, 0, 0],
        [1e300] * 4,
        [None, 1, 1, 1],
        ["x", 1, 1, 1],
        [[1], [1], [1], [1]],
        [[1], 1, 1, 1],
        [10**400, 1, 1, 1],
        "no base64!",
        "YWJj",
        None,
        {"values": [1, 1, 1, 1]},
    ],
)
async def test_unusable_vector_is_refused_at_once(service: Service, make: Make, vector: object) -> None:
    service.script = [Reply(body=answer(["one"], lambda _: vector))]

    with pytest.raises(EmbedderRefused):
        await make().embed(["one"])

    assert len(service.seen) == 1


@pytest.mark.parametrize("indexes", [[0], [0, 1, 2], [0, 0], [1, 2], [0, -1], [0, "1"]])
async def test_answer_that_does_not_match_the_texts_is_refused(
    service: Service, make: Make, indexes: list[object]
) -> None:
    items = [{"index": index, "embedding": [1, 2, 3, 4]} for index in indexes]
    service.script = [Reply(body=json.dumps({"data": items}).encode())]

    with pytest.raises(EmbedderRefused, match=f"{len(indexes)} vectors for 2 texts"):
        await make().embed(["one", "two"])


async def test_answer_that_never_ends_is_not_kept_in_memory(
    service: Service, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.embedding.openai.MAX_ANSWER_BYTES_PER_TEXT", 1000)
    service.script = [Reply(body=b" " * 2_000_000)]

    with pytest.raises(EmbedderRefused, match="too large"):
        await make().embed(["one"])


# --- What is tried again -----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
async def test_passing_failure_is_tried_again(service: Service, make: Make, status: int) -> None:
    service.script = [Reply(status, b"wait"), Reply(status, b"wait")]

    vectors = await make().embed(["one"])

    np.testing.assert_allclose(vectors, expected(["one"]), rtol=1e-5)
    assert len(service.seen) == 3


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"null",
        b"[]",
        b'{"data": null}',
        b"\xff\xfe",
        b"[" * 100_000,
        error_body("upstream is away"),
    ],
    ids=["empty", "page", "null", "list", "no data", "no text", "deep", "error"],
)
async def test_answer_that_is_no_embedding_is_tried_again(service: Service, make: Make, body: bytes) -> None:
    service.script = [Reply(body=body)]

    await make().embed(["one"])

    assert len(service.seen) == 2


async def test_answer_that_breaks_off_is_tried_again(service: Service, make: Make) -> None:
    service.script = [Reply(body=answer(["one"]), promised_bytes=100_000)]

    await make().embed(["one"])

    assert len(service.seen) == 2


async def test_after_the_last_try_the_embedder_is_unavailable(service: Service, make: Make) -> None:
    service.script = [Reply(503, error_body("the model is loading"), {"Retry-After": "0"})] * 5

    with pytest.raises(EmbedderUnavailable, match=r"503 \(the model is loading\)") as unavailable:
        await make().embed(["one"])

    assert unavailable.value.retry_after_s == 0
    assert len(service.seen) == 3


async def test_retry_after_in_seconds_is_waited_for(service: Service, make: Make) -> None:
    service.script = [Reply(429, b"", {"Retry-After": "0.2"})]

    began = time.monotonic()
    await make().embed(["one"])

    assert time.monotonic() - began >= 0.2


async def test_retry_after_as_a_date_is_waited_for_by_the_clock_of_the_service(
    service: Service, make: Make
) -> None:
    sent = datetime(2020, 2, 2, tzinfo=UTC)
    dates = [format_datetime(moment, usegmt=True) for moment in (sent, sent + timedelta(seconds=1))]
    service.script = [Reply(429, b"", dict(zip(("Date", "Retry-After"), dates, strict=True)))]

    began = time.monotonic()
    await make().embed(["one"])

    assert time.monotonic() - began >= 1


@pytest.mark.parametrize(
    "retry_after", ["soon", "", "-5", "nan", "1e9", "Mon, 99 Foo 2020", "Sun, 02 Feb 2020 00:00:00 GMT"]
)
async def test_retry_after_without_meaning_or_in_the_past_does_not_hold_us_up(
    service: Service, make: Make, retry_after: str
) -> None:
    service.script = [Reply(429, b"", {"Retry-After": retry_after})]

    await make().embed(["one"])

    assert len(service.seen) == 2


async def test_retry_after_beyond_our_patience_is_passed_on_at_once(service: Service, make: Make) -> None:
    in_an_hour = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    service.script = [Reply(429, b"", {"Retry-After": "21"}), Reply(503, b"", {"Retry-After": in_an_hour})]
    embedder = make()

    with pytest.raises(EmbedderUnavailable) as seconds:
        await embedder.embed(["one"])
    with pytest.raises(EmbedderUnavailable) as date:
        await embedder.embed(["one"])

    assert seconds.value.retry_after_s == 21
    assert date.value.retry_after_s == pytest.approx(3600, abs=5)
    assert len(service.seen) == 2


async def test_tries_end_when_their_time_is_up(service: Service, make: Make) -> None:
    service.script = [Reply(500)] * 5

    with pytest.raises(EmbedderUnavailable):
        await make(tries=100, timeout_s=0.2, patience_s=0.2, backoff_s=0.3).embed(["one"])

    assert len(service.seen) <= 2


async def test_silent_service_is_tried_again_and_then_unavailable(service: Service, make: Make) -> None:
    service.gate.clear()

    with pytest.raises(EmbedderUnavailable, match="in time"):
        await make(timeout_s=0.25, patience_s=5).embed(["one"])

    await arrival_of(3, service)


async def test_nobody_listening_is_unavailable(make: Make) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"

        with pytest.raises(EmbedderUnavailable, match=url.removesuffix("/v1")):
            await make(url=url).embed(["one"])


# --- What is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [307, 400, 404, 405, 413, 422])
async def test_refusal_is_permanent_and_in_the_words_of_the_service(
    service: Service, make: Make, status: int
) -> None:
    service.script = [Reply(status, error_body("model 'tiny' not found"))]

    with pytest.raises(EmbedderRefused, match=rf"{status} \(model 'tiny' not found\)"):
        await make().embed(["one"])

    assert len(service.seen) == 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": "plain"}', "plain"),
        (b'{"message": "at the top"}', "at the top"),
        (b'{"detail": [{"loc": ["input"], "msg": "too long"}]}', "too long"),
        (b'{"error": {"code": 7}}', '"code": 7'),
        (b"<h1>Not\n here</h1>", "<h1>Not here</h1>"),
        (b"", "Bad Request"),
        (b"\xff", "\ufffd"),
    ],
)
async def test_message_is_found_wherever_the_service_puts_it(
    service: Service, make: Make, body: bytes, words: str
) -> None:
    service.script = [Reply(400, body)]

    with pytest.raises(EmbedderRefused) as refused:
        await make().embed(["one"])

    assert words in refused.value.reason


async def test_huge_error_is_cut_short(service: Service, make: Make) -> None:
    service.script = [Reply(400, b"x" * 5_000_000)]

    with pytest.raises(EmbedderRefused) as refused:
        await make().embed(["one"])

    assert len(refused.value.reason) < 350


@pytest.mark.parametrize("status", [401, 402, 403])
async def test_wrong_key_can_be_mended_and_is_not_tried_again_here(
    service: Service, make: Make, status: int
) -> None:
    service.script = [Reply(status, error_body("Incorrect API key provided"))]

    with pytest.raises(EmbedderUnavailable, match="EMBEDDER_API_KEY") as unavailable:
        await make().embed(["one"])

    assert unavailable.value.retryable
    assert len(service.seen) == 1


async def test_one_refused_batch_ends_the_others(service: Service, make: Make) -> None:
    service.script = [Reply(400)]

    with pytest.raises(EmbedderRefused):
        await make(batch_size=1, parallel_requests=1).embed(["one"] * 10)

    assert len(service.seen) == 1


# --- Secrets -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quoted", [KEY, f"'{KEY}'", KEY[:12] + "...", "x" * 295 + KEY, f"a {KEY} b {KEY}"])
@pytest.mark.parametrize("status", [400, 401, 503])
async def test_key_that_the_service_repeats_is_in_no_error_and_no_log(
    service: Service, make: Make, caplog: pytest.LogCaptureFixture, status: int, quoted: str
) -> None:
    for name in ("", "httpx", "httpcore"):
        caplog.set_level(logging.DEBUG, logger=name)
    service.script = [Reply(status, error_body(f"Wrong key: {quoted}"))] * 3

    with pytest.raises((EmbedderRefused, EmbedderUnavailable)) as raised:
        await make().embed(["one"])

    assert KEY[:12] not in str(raised.value) + repr(raised.value) + caplog.text


async def test_key_is_in_no_representation(make: Make) -> None:
    embedder = make()
    await embedder.embed(["one"])

    assert KEY not in repr(embedder) + str(embedder) + repr(vars(embedder))


@pytest.mark.parametrize("key", ["sk-secret\n", "sk secret", "sk-sécret"])
def test_key_that_no_header_can_carry_stops_the_start_without_being_shown(make: Make, key: str) -> None:
    with pytest.raises(StartupError, match="EMBEDDER_API_KEY") as error:
        make(api_key=key)

    assert "cret" not in str(error.value)


def test_url_that_is_none_stops_the_start(make: Make) -> None:
    with pytest.raises(StartupError, match="EMBEDDER_URL"):
        make(url="http://host:port/v1")


# --- Life --------------------------------------------------------------------------------------------------


async def test_cancelled_call_lets_go_of_its_connections_and_slots(service: Service, make: Make) -> None:
    service.gate.clear()
    embedder = make(batch_size=1, parallel_requests=2)
    call = asyncio.create_task(embedder.embed(["one", "two", "three"]))
    await arrival_of(2, service)

    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    service.gate.set()

    np.testing.assert_allclose(await embedder.embed(["one"]), expected(["one"]), rtol=1e-5)


async def test_call_after_the_end_fails(service: Service, make: Make) -> None:
    embedder = make()
    await embedder.embed(["one"])
    await embedder.close()

    with pytest.raises(RuntimeError, match="closed"):
        await embedder.embed(["one"])

    assert len(service.seen) == 1


async def test_connections_are_used_again(service: Service, make: Make) -> None:
    embedder = make()
    for _ in range(3):
        await embedder.embed(["one"])

    assert len({seen.port for seen in service.seen}) == 1


async def test_refusals_cost_no_connection(service: Service, make: Make) -> None:
    embedder = make(batch_size=1, parallel_requests=4, tries=1)
    texts = [str(n) for n in range(12)]
    for _ in range(60):  # Each ends requests in the middle of whatever they are doing.
        service.script = [Reply(status=400, body=error_body("no")) for _ in range(12)]
        with pytest.raises(EmbedderRefused):
            await embedder.embed(texts)
    service.script = []
    while service.arrivals.acquire(blocking=False):
        pass
    service.gate.clear()

    embedding = asyncio.create_task(embedder.embed(texts))
    await arrival_of(4, service)  # As many at once as before.
    service.gate.set()

    np.testing.assert_allclose(await embedding, expected(texts), rtol=1e-5)
