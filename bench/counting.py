"""What it costs a request to be counted and timed, beside the same by prometheus-client's own metrics."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.request_figures import BOUNDS_S, CountRequests, RequestFigures, kept_waiting
from bench.support import conditions

REQUESTS = 200_000
ROUNDS = 5

ROUTE = SimpleNamespace(path="/ingest")
START: Message = {"type": "http.response.start", "status": 201, "headers": []}
BODY: Message = {"type": "http.response.body", "body": b"{}"}


class Libraries(RequestFigures):
    """The same figures, kept by the library."""

    def __init__(self) -> None:
        super().__init__()
        registry = CollectorRegistry()
        self._requests_total = Counter(
            "requests", "-", ("method", "route", "status_class"), registry=registry
        )
        self._durations_s = Histogram(
            "seconds", "-", ("method", "route"), registry=registry, buckets=BOUNDS_S
        )

    def answered(self, scope: Scope, status: int, seconds: float) -> None:
        method, route = scope["method"], scope["route"].path
        self._requests_total.labels(method, route, f"{status // 100}xx").inc()
        self._durations_s.labels(method, route).observe(seconds)


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    scope["route"] = ROUTE
    await send(START)
    await send(BODY)


async def waited(scope: Scope, receive: Receive, send: Send) -> None:
    kept_waiting(scope, 0.0)  # As for each part of a body.
    await bare(scope, receive, send)


async def nothing() -> Message:
    return {"type": "http.request"}


async def nowhere(message: Message) -> None:
    del message


async def seconds_a_request(app: ASGIApp) -> float:
    """Of the best round."""
    rounds = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        for _ in range(REQUESTS):
            await app({"type": "http", "method": "POST"}, nothing, nowhere)
        rounds.append((time.perf_counter() - begun) / REQUESTS)
    return min(rounds)


async def measure() -> None:
    alone = await seconds_a_request(bare)
    for name, figures in (("ours", RequestFigures()), ("prometheus-client's", Libraries())):
        counted = await seconds_a_request(CountRequests(waited, figures))
        print(f"{name}: {(counted - alone) * 1e6:.1f} µs a request")


if __name__ == "__main__":
    print(conditions())
    asyncio.run(measure())
