"""Reranking, by a real HTTP server that does as it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from app.errors import RerankerUnavailable
from app.search.reranker import Reranker
from tests.integration.search.support import indexed

TEXTS = ["The gate is old.", "The gate opens at six.", "A gate, a gate, a gate."]


class RerankingService:
    """Answers with what `behave` gives: a status and a body."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.behave: Callable[[dict[str, Any]], tuple[int, Any]] = by_length


def by_length(asked: dict[str, Any]) -> tuple[int, Any]:
    """The longest is the best; in an order of its own, as such services answer."""
    texts = asked.get("documents", asked.get("texts"))
    scores = sorted(((len(text), n) for n, text in enumerate(texts)), reverse=True)
    return 200, {"results": [{"index": n, "relevance_score": float(score)} for score, n in scores]}


@pytest.fixture
def service() -> Iterator[tuple[RerankingService, str]]:
    told = RerankingService()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            told.requests.append(asked)
            told.keys.append(self.headers.get("authorization"))
            status, body = told.behave(asked)
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield told, f"http://127.0.0.1:{server.server_port}/rerank"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def limits(service: tuple[RerankingService, str]) -> dict[str, Any]:
    return {"RERANKER_URL": service[1], "RERANKER_MODEL": "m", "RERANKER_API_KEY": SecretStr("secret")}


async def test_hits_come_in_the_rerankers_order_with_its_scores(
    client: httpx.AsyncClient, service: tuple[RerankingService, str]
) -> None:
    for text in TEXTS:
        await indexed(text)

    answer = await client.post("/search", json={"query": "gate -swan", "rerank": True, "top_k": 2})

    hits = answer.json()["hits"]
    assert [hit["text"] for hit in hits] == sorted(TEXTS, key=len, reverse=True)[:2]
    assert [hit["score"] for hit in hits] == [float(len(hit["text"])) for hit in hits]
    (asked,) = service[0].requests
    assert (asked["model"], asked["query"], asked["top_n"]) == ("m", "gate -swan", 3)
    assert service[0].keys == ["Bearer secret"]
    few = await client.post("/search", json={"query": "gate", "rerank": True, "min_score": 20})
    assert [len(hit["text"]) >= 20 for hit in few.json()["hits"]] == [True, True]
    nothing = await client.post("/search", json={"query": "gate", "collections": ["x"], "rerank": True})
    assert nothing.json() == {"hits": []}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, {}),
        (401, {"error": "secret"}),
        (200, b"<html>"),
        (200, {"data": []}),
        (200, {"results": []}),
        (200, {"results": [{"index": 0, "relevance_score": 1}] * 3}),
        (200, {"results": [{"index": n} for n in range(3)]}),
    ],
)
async def test_a_service_that_fails_is_a_503_which_tells_no_secret(
    client: httpx.AsyncClient, service: tuple[RerankingService, str], status: int, body: Any
) -> None:
    for text in TEXTS:
        await indexed(text)
    service[0].behave = lambda _: (status, body)

    answer = await client.post("/search", json={"query": "gate", "rerank": True})

    assert (answer.status_code, answer.json()["code"]) == (503, "reranker_unavailable")
    assert "secret" not in answer.text
    assert (await client.post("/search", json={"query": "gate"})).status_code == 200


@pytest.fixture
async def tei(service: tuple[RerankingService, str]) -> AsyncIterator[Reranker]:
    async with Reranker(url=service[1], model=None, api_key=None, timeout_s=5) as reranker:
        yield reranker


async def test_the_other_shape_is_spoken_where_there_is_no_model(
    service: tuple[RerankingService, str], tei: Reranker
) -> None:
    service[0].behave = lambda _: (200, [{"index": 1, "score": 0.5}, {"index": 0, "score": 0.1}])

    assert await tei.scores("gate", ["a", "b"]) == [0.1, 0.5]
    assert service[0].requests == [{"query": "gate", "texts": ["a", "b"]}]


async def test_a_service_that_is_not_there_is_unavailable() -> None:
    async with Reranker(url="http://127.0.0.1:9/rerank", model=None, api_key=None, timeout_s=5) as reranker:
        with pytest.raises(RerankerUnavailable, match="ConnectError"):
            await reranker.scores("gate", ["a"])
