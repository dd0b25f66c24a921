"""A worker as one writes it first: Dramatiq as it comes, an async actor, and a row whose status is saved.

dramatiq bench.plain_actor            # the worker
python -m bench.plain_actor COUNT     # makes so many rows, and sends their ids
"""

from __future__ import annotations

import asyncio
import os
import sys
from uuid import uuid4

import dramatiq
from dramatiq.asyncio import get_event_loop_thread
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import AsyncIO, Middleware
from tortoise import Model, Tortoise, fields
from tortoise.timezone import now


class Job(Model):
    """Walks from PENDING over PROCESSING to COMPLETED."""

    id = fields.UUIDField(primary_key=True)
    status = fields.CharField(max_length=16, default="PENDING")
    started_at = fields.DatetimeField(null=True)
    completed_at = fields.DatetimeField(null=True)


async def connect() -> None:
    """For the worker, and for the bench that makes the rows."""
    await Tortoise.init(
        db_url=os.environ["DATABASE_URL"].replace("postgres://", "asyncpg://"),
        modules={"models": [__name__]},
        _enable_global_fallback=True,  # Actors run in contexts of their own.
    )


class Connection(Middleware):
    """Open while the worker runs, on its loop."""

    def before_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:  # noqa: ARG002
        get_event_loop_thread().run_coroutine(connect())

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:  # noqa: ARG002
        get_event_loop_thread().run_coroutine(Tortoise.close_connections())


broker = RedisBroker(url=os.environ["REDIS_URL"])
broker.add_middleware(AsyncIO())
broker.add_middleware(Connection(), after=AsyncIO)
dramatiq.set_broker(broker)


@dramatiq.actor
async def work(job_id: str) -> None:
    job = await Job.get(id=job_id)
    job.status = "PROCESSING"
    job.started_at = now()
    await job.save(update_fields=["status", "started_at"])
    job.status = "COMPLETED"
    job.completed_at = now()
    await job.save(update_fields=["status", "completed_at"])


async def fill(count: int) -> None:
    """Rows, then messages."""
    await connect()
    await Tortoise.generate_schemas()
    jobs = [Job(id=uuid4()) for _ in range(count)]
    await Job.bulk_create(jobs, batch_size=500)
    for job in jobs:
        work.send(str(job.id))
    await Tortoise.close_connections()


if __name__ == "__main__":
    asyncio.run(fill(int(sys.argv[1])))
