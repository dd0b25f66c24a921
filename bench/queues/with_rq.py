"""RQ; results are not kept, as nobody asks for them."""

import os

import redis
from rq import Queue

from bench.queues import stamp

queue = Queue(connection=redis.Redis.from_url(os.environ["REDIS_URL"]))


async def prepare() -> None:
    """Nothing to do."""


async def enqueue() -> None:
    queue.enqueue(stamp, result_ttl=0)
