"""Dramatiq as it comes."""

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from bench.queues import stamp

dramatiq.set_broker(RedisBroker(url=os.environ["REDIS_URL"]))


@dramatiq.actor
def job() -> None:
    stamp()


async def prepare() -> None:
    """Nothing to do."""


async def enqueue() -> None:
    job.send()
