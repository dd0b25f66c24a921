"""The Dramatiq broker. Importing this module makes it the global one; it connects on first use only."""

from __future__ import annotations

import dramatiq
import redis
from dramatiq.middleware import AsyncIO
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.core.broker import DoorbellBroker, RowRetries
from app.core.config import get_settings

settings = get_settings()

# Every command has its answer within this time, or fails: Redis is the doorbell, nobody waits at a dead one.
# One silent retry, because the first command after a restart of Redis meets a closed connection.
_client = redis.Redis.from_url(
    settings.REDIS_URL,
    socket_timeout=2,
    socket_connect_timeout=1,
    retry=Retry(NoBackoff(), 1),
    health_check_interval=15,
)

broker = DoorbellBroker(
    client=_client,
    namespace="sluice",
    # A dead worker's messages are given to others after 15 s instead of 60, and looked for a hundred times as
    # often: with Dramatiq's defaults that took 14 minutes on an idle system.
    heartbeat_timeout=15_000,
    maintenance_chance=100_000,
    middleware=[
        # The actors are coroutines: one event loop per process runs them all. It comes first, so that what
        # follows finds the loop when the worker boots, and still has it when the worker shuts down.
        AsyncIO(),
        # Re-raised errors come back as delayed messages. The row decides when to give up (Document.release).
        RowRetries(),
        # Left out of Dramatiq's defaults: AgeLimit (a document does not expire), TimeLimit (it cannot stop
        # C code, and every step has a limit of its own), and what is not used: Callbacks, Pipelines,
        # ShutdownNotifications.
    ],
)
dramatiq.set_broker(broker)
