"""Counts and times the requests of this process, for `GET /metrics`."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import accumulate

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Upper bounds of the histogram, in seconds: from an accepted document to a search with a slow reranker.
BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
LABELS = tuple(map(floatToGoString, (*BOUNDS_S, float("inf"))))

#: Anybody may send any word for a method, and any path: each would be a series of its own, for ever.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER_METHOD = "other"
NO_ROUTE = "none"

#: Of a request whose client hung up before it had an answer.
NO_ANSWER = "none"

#: Where a request's scope has the seconds that it was kept waiting, but not by this service.
KEPT_WAITING = "sluice.kept_waiting_s"


def kept_waiting(scope: Scope, seconds: float) -> None:
    """So long the request waited for its own client: this is no part of what its answer took."""
    scope[KEPT_WAITING] = scope.get(KEPT_WAITING, 0.0) + seconds


@contextmanager
def waiting_as_asked(scope: Scope) -> Iterator[None]:
    """The block waits because the client has asked for it."""
    began_at = time.perf_counter()
    try:
        yield
    finally:
        kept_waiting(scope, time.perf_counter() - began_at)


class RequestFigures(Collector):
    """What came, and what became of it. For one event loop, so without locks."""

    def __init__(self) -> None:
        self.in_progress = 0
        self._answers: dict[tuple[str, str, str], int] = {}
        self._times: dict[tuple[str, str], _Times] = {}

    def answered(self, scope: Scope, status: int, seconds: float) -> None:
        """Note a request whose answer begins, so many seconds after it came."""
        method, route = _place_of(scope)
        self._count(method, route, f"{status // 100}xx")
        times = self._times.get((method, route))
        if times is None:
            times = self._times[method, route] = _Times()
        times.add(max(seconds - scope.get(KEPT_WAITING, 0.0), 0.0))

    def abandoned(self, scope: Scope) -> None:
        """Note a request that ended without an answer."""
        self._count(*_place_of(scope), NO_ANSWER)

    def _count(self, method: str, route: str, status_class: str) -> None:
        key = (method, route, status_class)
        self._answers[key] = self._answers.get(key, 0) + 1

    def collect(self) -> Iterable[Metric]:
        """All of it, as Prometheus wants it."""
        yield GaugeMetricFamily(
            "sluice_http_requests_in_progress",
            "Requests whose answer has not ended, open event streams and long polls among them.",
            self.in_progress,
        )
        yield self._requests()
        yield self._durations()

    def _requests(self) -> Metric:
        family = CounterMetricFamily(
            "sluice_http_requests_total",
            "Requests, counted when their answer begins.",
            labels=("method", "route", "status_class"),
        )
        for key, number in self._answers.items():
            family.add_metric(key, number)
        return family

    def _durations(self) -> Metric:
        family = HistogramMetricFamily(
            "sluice_http_request_duration_seconds",
            "From a request's head to its answer's head, without what its client kept it waiting.",
            labels=("method", "route"),
        )
        for key, times in self._times.items():
            family.add_metric(key, list(zip(LABELS, times.cumulative(), strict=True)), times.sum_s)
        return family


class _Times:
    """A histogram."""

    __slots__ = ("numbers", "sum_s")

    def __init__(self) -> None:
        self.numbers = [0] * len(LABELS)
        self.sum_s = 0.0

    def add(self, seconds: float) -> None:
        self.numbers[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds

    def cumulative(self) -> Iterable[int]:
        return accumulate(self.numbers)


def _place_of(scope: Scope) -> tuple[str, str]:
    """Its method, and its route as it is written in the code: `/documents/{document_id}`."""
    method = scope["method"]
    route = getattr(scope.get("route"), "path", NO_ROUTE)
    return method if method in METHODS else OTHER_METHOD, route


class CountRequests:
    """ASGI middleware, the outermost: what the others refuse is counted, too.

    A request is timed until its answer begins, so that an event stream counts for what it took to open it and
    not for the hours that somebody listens.
    """

    def __init__(self, app: ASGIApp, figures: RequestFigures) -> None:
        self.app = app
        self.figures = figures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        figures = self.figures
        began_at = time.perf_counter()
        is_answered = False

        async def counting(message: Message) -> None:
            nonlocal is_answered
            if message["type"] == "http.response.start":
                is_answered = True
                figures.answered(scope, message["status"], time.perf_counter() - began_at)
            await send(message)

        figures.in_progress += 1
        try:
            await self.app(scope, receive, counting)
        except Exception:
            if not is_answered:  # Starlette answers 500, further out than any middleware of ours.
                is_answered = True
                figures.answered(scope, 500, time.perf_counter() - began_at)
            raise
        finally:
            figures.in_progress -= 1
            if not is_answered:
                figures.abandoned(scope)
