"""`GET /metrics`: what Prometheus asks for."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import APIRouter, Request
from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    make_asgi_app,
)
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from starlette.types import ASGIApp

from app import __version__
from app.api.call_route import takes_any_parameter
from app.api.dependencies import doorbell_of, resources_of
from app.api.direct_route import DirectRoute
from app.api.request_figures import RequestFigures
from app.jobs.doorbell import Doorbell
from app.schemas.metrics import ServiceMetrics
from app.services.event_hub import EventHub

# Not in the schema: it is no JSON, and programs other than Prometheus have `GET /stats`.
router = APIRouter(route_class=DirectRoute, include_in_schema=False)

#: Prometheus gives up after 10 s unless it is told otherwise, and then knows nothing at all.
ANSWER_WITHIN_S = 2.0


class ProcessMetrics(Collector):
    """What this process alone knows, but for its requests."""

    def __init__(self, *, events: EventHub, doorbell: Doorbell) -> None:
        self._events = events
        self._doorbell = doorbell

    def collect(self) -> Iterable[Metric]:
        """The families of metrics."""
        yield InfoMetricFamily("sluice_build", "The version that runs.", {"version": __version__})
        yield GaugeMetricFamily(
            "sluice_event_listeners", "Event streams and long polls that are open.", self._events.listeners
        )
        yield CounterMetricFamily(
            "sluice_messages_unsent_total",
            "Documents that Redis could not be told of when they were accepted; workers find them later.",
            self._doorbell.unsent,
        )


@router.get("/metrics", response_model=None)
@takes_any_parameter
async def get_metrics(request: Request) -> ASGIApp:
    """The whole service, as `GET /stats` sees it, and this process.

    It is answered within `ANSWER_WITHIN_S`, database or not, and asks the database once in a second.
    """
    resources = resources_of(request)
    requests: RequestFigures = request.app.state.requests
    glance = await resources.stats.glance(within_s=ANSWER_WITHIN_S)
    return make_asgi_app(
        _registry(
            ServiceMetrics(glance),
            requests,
            ProcessMetrics(events=resources.events, doorbell=doorbell_of(request)),
        )
    )


def _registry(*collectors: Collector) -> CollectorRegistry:
    """One for this answer alone: what was found for it is in nobody else's way."""
    registry = CollectorRegistry(auto_describe=True)  # By their names, `?name[]=` finds them.
    for collector in collectors:
        registry.register(collector)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry
