"""How the whole service looks to Prometheus; docs/metrics.md explains each name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.models.figures import Queue, Storage
from app.models.watch import LATELY_MINUTES, Deliveries, Lately, Leases
from app.services.stats_service import Counts, Glance

LATELY = f"last_{LATELY_MINUTES}m"


class ServiceMetrics(Collector):
    """What a glance has found, as gauges: rows are deleted, so that no count of them only grows.

    What is not known is left out. A zero, or what was true some time ago, would be taken for the truth.
    """

    def __init__(self, glance: Glance) -> None:
        self._glance = glance

    def collect(self) -> Iterable[Metric]:
        """The families of metrics."""
        glance = self._glance
        yield _gauge(
            "database_up",
            "1 when the database answers and can be written, else 0.",
            glance.is_writable is True,
        )
        if glance.counts is not None:
            yield from _of_counts(glance.counts)
        if glance.watch is not None:
            yield from _of_leases(glance.watch.leases)
            yield from _of_lately(glance.watch.lately)
            yield from _of_deliveries(glance.watch.deliveries)
        if glance.storage is not None:
            yield from _of_storage(glance.storage)


def _of_counts(counts: Counts) -> Iterator[Metric]:
    yield _gauges("documents", "Documents, by status.", "status", counts.documents.items())
    yield from _of_queue(counts.queue)
    yield _gauge("workers_alive", "Worker processes that beat.", len(counts.workers))


def _of_queue(queue: Queue) -> Iterator[Metric]:
    yield _gauge("documents_waiting", "Documents that are PENDING, due or not.", queue.waiting)
    yield _gauge("documents_due", "Documents that a worker could begin at once.", queue.due)
    yield _gauge(
        "documents_oldest_due_age_seconds",
        "How long the document that is due longest has been; 0 when none is.",
        queue.oldest_waiting_s or 0,
    )


def _of_leases(leases: Leases) -> Iterator[Metric]:
    yield _gauge("documents_held", "Documents in the hands of a worker that beats.", leases.held)
    yield _gauge(
        "documents_lease_expired",
        "Documents in the hands of a worker that does not beat, until another takes them back.",
        leases.expired,
    )


def _of_lately(lately: Lately) -> Iterator[Metric]:
    yield _gauges(
        f"attempts_ended_{LATELY}",
        f"Attempts that ended in the last {LATELY_MINUTES} minutes, of documents that are still there.",
        "outcome",
        lately.attempts.items(),
    )
    yield _gauge(
        f"documents_failed_{LATELY}",
        f"Documents that were given up in the last {LATELY_MINUTES} minutes and are still FAILED.",
        lately.documents_failed,
    )


def _of_deliveries(deliveries: Deliveries) -> Iterator[Metric]:
    yield _gauge(
        "webhook_deliveries_due", "Deliveries to webhooks that could be made at once.", deliveries.due
    )
    yield _gauge(
        "webhook_deliveries_oldest_due_age_seconds",
        "How long the delivery that is due longest has been; 0 when none is.",
        deliveries.oldest_due_s,
    )
    yield _gauge(
        f"webhook_deliveries_failed_{LATELY}",
        f"Deliveries that were given up in the last {LATELY_MINUTES} minutes.",
        deliveries.failed_lately,
    )
    yield _gauge(
        "webhooks_disabled",
        "Webhooks that were disabled because they went on failing.",
        deliveries.webhooks_disabled,
    )


def _of_storage(storage: Storage) -> Iterator[Metric]:
    yield _gauge("chunks", "Chunks of all documents.", storage.chunks)
    yield _gauge("content_bytes", "Documents as they were sent.", storage.content_bytes)
    yield _gauge("database_size_bytes", "The whole database, with its indexes.", storage.database_bytes)


def _gauge(name: str, told: str, value: float) -> Metric:
    return GaugeMetricFamily(f"sluice_{name}", told, value)


def _gauges(name: str, told: str, label: str, values: Iterable[tuple[str, int]]) -> Metric:
    family = GaugeMetricFamily(f"sluice_{name}", told, labels=(label,))
    for labelled, value in values:
        family.add_metric((labelled,), value)
    return family
