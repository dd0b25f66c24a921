"""What `Embedder` promises, kept by each one that there is: whoever swaps them notices nothing."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.embedding.hash import HashEmbedder
from app.embedding.minilm import MiniLMEmbedder
from app.embedding.openai import OpenAIEmbedder
from app.embedding.protocol import Embedder, TextKind
from app.embedding.static import StaticEmbedder, StaticModel
from tests.support import as_pairs

TEXTS = [
    "The lock keeper opens the sluice before the barge arrives.",
    "Der Schleusenwärter öffnet die Tore.",
    "水位上升之后，上闸门打开。",
    "🚢🎉",
    "sluice",
    "def fill(chamber): return chamber.level_m",
    "water " * 2000,
]
#: More than `app.embedding.brief` computes at once.
MANY = TEXTS * 4


class Service(ThreadingHTTPServer):
    """An embedding service whose model is the one of `HashEmbedder`."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.model = HashEmbedder(32)

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are part of the contract."""


class Handler(BaseHTTPRequestHandler):
    server: Service
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["input"]
        vectors = asyncio.run(self.server.model.embed(texts))
        items = [{"index": at, "embedding": vector.tolist()} for at, vector in enumerate(vectors)]
        body = json.dumps({"data": items}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with Service() as service:
        thread = threading.Thread(target=service.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield service
        service.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


def openai(service: Service) -> OpenAIEmbedder:
    return OpenAIEmbedder(
        url=f"http://127.0.0.1:{service.server_address[1]}/v1",
        model="hash",
        api_key=None,
        dimensions=32,
        max_tokens=300,
        timeout_s=10,
        batch_size=16,
    )


@pytest.fixture(params=["hash", "minilm", "static", "openai"])
async def embedder(
    request: pytest.FixtureRequest, cache_dir: Path, service: Service, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Embedder]:
    # Loading all certificates of the world takes most of a test's time, and plain HTTP needs none.
    monkeypatch.setattr(ssl, "create_default_context", lambda **_: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    embedder: Embedder
    if request.param == "hash":
        embedder = HashEmbedder()
    elif request.param == "minilm":
        embedder = await MiniLMEmbedder.open(cache_dir=cache_dir)
    elif request.param == "static":
        embedder = await StaticEmbedder.open()
    else:
        embedder = openai(service)
    yield embedder
    await embedder.close()


async def test_vectors_are_unit_rows_of_float32_whatever_the_text(embedder: Embedder) -> None:
    odd = ["", " \n", "\x00\x1c", "\u0301", "\u200b\ufeff", "half a pair: \ud83d", *TEXTS]

    vectors = await embedder.embed(odd)

    assert vectors.dtype == np.float32
    assert vectors.shape == (len(odd), embedder.dimensions)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(odd)), abs=1e-5)


async def test_no_texts_are_an_array_without_rows(embedder: Embedder) -> None:
    vectors = await embedder.embed([])

    assert (vectors.shape, vectors.dtype) == ((0, embedder.dimensions), np.float32)


async def test_a_text_has_one_vector_alone_and_in_company_in_any_order(embedder: Embedder) -> None:
    together = await embedder.embed(TEXTS)
    reversed_ = await embedder.embed(TEXTS[::-1])
    alone = [(await embedder.embed([text]))[0] for text in TEXTS]

    assert together == pytest.approx(np.array(alone), abs=1e-5)
    assert together == pytest.approx(reversed_[::-1], abs=1e-5)
    assert (np.argmax(together @ np.array(alone).T, axis=1) == np.arange(len(TEXTS))).all()


async def test_a_question_is_nearest_to_the_text_that_answers_it(embedder: Embedder) -> None:
    passages = ["The sluice gate opens at six.", "Bread is baked of flour.", "The parliament voted."]

    (question,) = await embedder.embed(["When does the sluice gate open?"], TextKind.QUERY)

    assert np.argmax(await embedder.embed(passages) @ question) == 0


async def test_calls_at_once_get_what_each_asked_for(embedder: Embedder) -> None:
    expected = await embedder.embed(TEXTS)

    async def ask(number: int) -> bool:
        at = [(number + step) % len(TEXTS) for step in range(number % 4)]
        kind = TextKind.QUERY if number % 3 == 0 else TextKind.DOCUMENT
        vectors = await embedder.embed([TEXTS[index] for index in at], kind)
        return bool(np.allclose(vectors, expected[at], atol=1e-5))

    assert all(await asyncio.gather(*(ask(number) for number in range(24))))


async def test_who_cancels_harms_nobody(embedder: Embedder) -> None:
    staying = [asyncio.create_task(embedder.embed(MANY)) for _ in range(2)]
    leaving = asyncio.create_task(embedder.embed(MANY))
    await asyncio.sleep(0)  # It has begun.
    leaving.cancel()

    with pytest.raises(asyncio.CancelledError):
        await leaving
    first, second = await asyncio.gather(*staying)

    assert first == pytest.approx(second, abs=1e-5)
    assert (await embedder.embed(["sluice"])).shape == (1, embedder.dimensions)


async def test_the_event_loop_runs_on_meanwhile(embedder: Embedder) -> None:
    running = asyncio.create_task(embedder.embed(MANY))

    turns = 0
    while not running.done():
        await asyncio.sleep(0)
        turns += 1

    assert turns > 2


async def test_the_text_beyond_max_tokens_does_not_matter(embedder: Embedder) -> None:
    start = "water " * embedder.max_tokens

    one, other = await embedder.embed([f"{start} gate", f"{start} quite another end of the text"])

    assert one == pytest.approx(other, abs=1e-6)


async def test_closed_twice_is_closed_and_embeds_no_more(embedder: Embedder) -> None:
    await embedder.embed(["sluice"])
    await embedder.close()
    await embedder.close()

    for texts in (["sluice"], []):
        with pytest.raises(RuntimeError, match="closed"):
            await embedder.embed(texts)


# Tokens need no event loop, and Hypothesis none of the fixtures above.


@pytest.fixture(scope="module", params=["hash", "minilm", "static", "openai"])
def token_offsets(
    request: pytest.FixtureRequest, cache_dir: Path, service: Service
) -> Iterator[Callable[[str], list[tuple[int, int]]]]:
    if request.param == "minilm":
        minilm = MiniLMEmbedder._load(cache_dir, 1, "int8")
        yield as_pairs(minilm)
        minilm._batcher.close()
    elif request.param == "static":
        yield as_pairs(StaticModel.load())
    else:
        embedder = HashEmbedder() if request.param == "hash" else openai(service)
        yield as_pairs(embedder)


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=200))
def test_tokens_ascend_within_the_text_and_none_is_empty(
    token_offsets: Callable[[str], list[tuple[int, int]]], text: str
) -> None:
    starts = [start for start, _ in token_offsets(text)]
    ends = [end for _, end in token_offsets(text)]

    assert all(0 <= start < end <= len(text) for start, end in zip(starts, ends, strict=True))
    assert starts == sorted(starts)
    assert ends == sorted(ends)


def test_white_space_has_no_tokens_and_every_word_has(
    token_offsets: Callable[[str], list[tuple[int, int]]],
) -> None:
    assert token_offsets(" \n\t ") == token_offsets("") == []

    text = "The lock keeper, 1896: Schleuse – e\u0301cluse – 水闸 🚢."
    covered = {position for start, end in token_offsets(text) for position in range(start, end)}

    assert {text[position] for position in range(len(text)) if position not in covered} <= {" ", "\u0301"}


def test_a_text_longer_than_the_model_takes_is_not_cut(
    token_offsets: Callable[[str], list[tuple[int, int]]],
) -> None:
    text = "gate " * 20_000

    assert len(token_offsets(text)) >= 20_000
    assert token_offsets(text)[-1][1] == len(text) - 1
