"""taskiq on Redis streams, which are acknowledged."""

import os

from taskiq_redis import RedisStreamBroker

from bench.queues import stamp

broker = RedisStreamBroker(url=os.environ["REDIS_URL"])


@broker.task
async def job() -> None:
    stamp()


async def prepare() -> None:
    """It makes the stream; a worker that comes later finds what is in it."""
    await broker.startup()


async def enqueue() -> None:
    await job.kiq()
