"""Procrastinate on PostgreSQL."""

import os

from procrastinate import App, PsycopgConnector

from bench.queues import stamp

app = App(connector=PsycopgConnector(conninfo=os.environ["DATABASE_URL"]))


@app.task(name="job")
async def job() -> None:
    stamp()


async def prepare() -> None:
    await app.open_async()
    await app.schema_manager.apply_schema_async()


async def enqueue() -> None:
    await job.defer_async()
