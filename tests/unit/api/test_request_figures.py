"""Requests are counted by their routes, and timed for what this service takes of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.request_figures import CountRequests, RequestFigures, kept_waiting, waiting_as_asked

Value = Callable[..., float | None]


@pytest.fixture
def figures() -> RequestFigures:
    return RequestFigures()


@pytest.fixture
def value(figures: RequestFigures) -> Value:
    registry = CollectorRegistry()
    registry.register(figures)
    return lambda name, **labels: registry.get_sample_value(f"sluice_http_{name}", labels)


async def nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def nowhere(message: Message) -> None:
    pass


async def call(app: ASGIApp, figures: RequestFigures, method: str = "GET") -> None:
    await CountRequests(app, figures)({"type": "http", "method": method, "path": "/a/1"}, nothing, nowhere)


def answering(status: int, *, route: str | None = "/a/{a}") -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if route is not None:
            scope["route"] = SimpleNamespace(path=route)
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return app


@pytest.mark.parametrize(
    ("method", "route", "status", "counted"),
    [
        ("GET", "/a/{a}", 200, ("GET", "/a/{a}", "2xx")),
        ("POST", "/a/{a}", 201, ("POST", "/a/{a}", "2xx")),
        ("GET", None, 404, ("GET", "none", "4xx")),
        ("BREW", "/a/{a}", 405, ("other", "/a/{a}", "4xx")),
        ("GET", "/a/{a}", 503, ("GET", "/a/{a}", "5xx")),
    ],
)
async def test_a_request_is_counted_by_its_method_its_route_and_the_class_of_its_status(
    method: str, route: str | None, status: int, counted: tuple[str, str, str]
) -> None:
    figures = RequestFigures()

    await call(answering(status, route=route), figures, method)

    (requests,) = [each for each in figures.collect() if each.name == "sluice_http_requests"]
    (sample,) = requests.samples
    assert (tuple(sample.labels.values()), sample.value) == (counted, 1)


async def test_what_breaks_without_an_answer_is_the_servers_fault(
    figures: RequestFigures, value: Value
) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await call(broken, figures)

    assert value("requests_total", method="GET", route="none", status_class="5xx") == 1
    assert value("requests_in_progress") == 0


async def test_a_request_whose_client_hangs_up_has_no_answer_and_no_duration(
    figures: RequestFigures, value: Value
) -> None:
    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        pass

    await call(silent, figures)

    assert value("requests_total", method="GET", route="none", status_class="none") == 1
    assert value("request_duration_seconds_count", method="GET", route="none") is None


async def test_a_stream_counts_when_it_begins_and_is_in_progress_until_it_ends(
    figures: RequestFigures, value: Value
) -> None:
    may_end = asyncio.Event()

    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await may_end.wait()

    listening = asyncio.create_task(call(stream, figures))
    await asyncio.sleep(0)

    assert value("requests_total", method="GET", route="none", status_class="2xx") == 1
    assert value("request_duration_seconds_count", method="GET", route="none") == 1
    assert value("requests_in_progress") == 1
    may_end.set()
    await listening
    assert value("requests_total", method="GET", route="none", status_class="2xx") == 1
    assert value("requests_in_progress") == 0


async def test_what_a_client_keeps_its_request_waiting_is_no_part_of_its_duration(
    figures: RequestFigures, value: Value
) -> None:
    async def patient(scope: Scope, receive: Receive, send: Send) -> None:
        with waiting_as_asked(scope):
            await asyncio.sleep(0.05)  # What is measured.
        await answering(200)(scope, receive, send)

    await call(patient, figures)

    assert (value("request_duration_seconds_sum", method="GET", route="/a/{a}") or 0) < 0.04


def test_times_are_told_by_bounds_that_each_hold_all_below_them(
    figures: RequestFigures, value: Value
) -> None:
    scope = {"type": "http", "method": "GET"}
    for seconds in (0.0, 0.001, 0.002, 2.0, 99.0):
        figures.answered(scope, 200, seconds)
    kept_waiting(scope, 98.0)
    figures.answered(scope, 200, 99.0)
    figures.answered(scope, 200, 1.0)  # Waits that overlap with work may seem longer than all of it.

    def at_most(bound: str) -> float | None:
        return value("request_duration_seconds_bucket", method="GET", route="none", le=bound)

    bounds = ("0.001", "0.0025", "1.0", "2.5", "30.0", "+Inf")
    assert [at_most(bound) for bound in bounds] == [3, 4, 5, 6, 6, 7]
    assert value("request_duration_seconds_sum", method="GET", route="none") == pytest.approx(102.003)


async def test_what_is_no_request_is_not_counted(figures: RequestFigures, value: Value) -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    await CountRequests(app, figures)({"type": "lifespan"}, nothing, nowhere)

    assert seen == [{"type": "lifespan"}]
    assert value("requests_in_progress") == 0
