"""Sluice's broker, and nothing else of it; under the project's own Python."""

import dramatiq

from app.core import queue  # noqa: F401  # It sets the broker.
from bench.queues import stamp


@dramatiq.actor
async def job() -> None:
    stamp()


async def prepare() -> None:
    """Nothing to do."""


async def enqueue() -> None:
    job.send()
