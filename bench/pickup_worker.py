"""An actor that notes when it starts, on our broker or on Dramatiq's own. For bench.pickup.

`dramatiq bench.pickup_worker`, with BENCH_BROKER=ours or stock.
"""

from __future__ import annotations

import os
import time

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker

REDIS_URL = os.environ["REDIS_URL"]

if os.environ["BENCH_BROKER"] == "ours":
    from app.core import queue  # noqa: F401  # It makes its broker the one that actors are declared on.
else:
    dramatiq.set_broker(RedisBroker(url=REDIS_URL, namespace="stock"))  # type: ignore[no-untyped-call]

_noted = redis.Redis.from_url(REDIS_URL)


@dramatiq.actor(queue_name="bench")
def note(sent_at: float, answer_to: str) -> None:
    """Tell how many milliseconds ago this was sent."""
    _noted.rpush(answer_to, (time.time() - sent_at) * 1000)
