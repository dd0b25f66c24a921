"""Celery on Redis, without a result backend."""

import os

from celery import Celery

from bench.queues import stamp

app = Celery("bench", broker=os.environ["REDIS_URL"])


@app.task(ignore_result=True)
def job() -> None:
    stamp()


async def prepare() -> None:
    """Nothing to do."""


async def enqueue() -> None:
    job.delay()
