"""What a million waiting documents cost the database while they wait honestly, and with the queue emptied.

.venv/bin/python -m bench.reconcile_cost [--documents N] [--seconds S] [--workers W]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import asyncpg
import dramatiq
import redis

from app.core.broker import DoorbellBroker
from app.core.config import Settings
from app.core.database import database, migrate
from app.embedded import EmbeddedPostgres, EmbeddedValkey
from app.jobs.lanes import Lanes
from app.jobs.reconciler import BATCH, Reconciler
from app.models import backlog
from bench.support import conditions

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Of a PostgreSQL server: its processes now, and those that have ended."""

    def ticks(one: int, fields: slice) -> int:
        try:
            return sum(map(int, Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()[fields]))
        except OSError:
            return 0

    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    own, ended = slice(11, 13), slice(11, 15)
    return (ticks(pid, ended) + sum(ticks(int(child), own) for child in children)) / TICKS_PER_S


async def fill(url: str, documents: int) -> None:
    """Rows as `accept` leaves them, two seconds late: in any other queue they would be sent again."""
    connection = await asyncpg.connect(url)
    await connection.execute(
        f"""
        INSERT INTO documents (id, media_type, sha256, size_bytes, sent_at)
        SELECT uuidv7(), 'text/plain', md5(n::text) || md5(n::text), 2000, now() - interval '17 s'
        FROM generate_series(1, {documents:d}) AS n
        """
    )
    await connection.execute("VACUUM ANALYZE documents")
    await connection.execute("CHECKPOINT")
    await connection.close()


class Bench:
    def __init__(self, postgres: EmbeddedPostgres, client: redis.Redis, seconds: float) -> None:
        assert postgres.pid is not None
        self.pid = postgres.pid
        self.seconds = seconds
        self.client = client
        self.broker = DoorbellBroker(client=client, namespace="bench", middleware=[])

        @dramatiq.actor(broker=self.broker)
        def wait(document_id: str) -> None:
            pass  # Nobody works on it here.

        self.send = wait.send

    def reconciler(self) -> Reconciler:
        async def nothing_is_due() -> bool:
            return False

        return Reconciler(
            send=self.send,
            look=lambda: self.broker.look("default"),
            mark=self.broker.mark,
            work_on_next=nothing_is_due,
            lanes=Lanes(),
            myself=lambda: "bench",
            every_s=5,
            backoff_s=10,
        )

    async def idle(self) -> float:
        """Percent of a core that the server takes with nobody asking."""
        return await self._percent()

    async def swept(self, workers: int) -> float:
        """Percent of a core with so many workers' reconcilers sweeping every five seconds."""
        reconcilers = [self.reconciler() for _ in range(workers)]
        for reconciler in reconcilers:
            reconciler.start()
        percent = await self._percent()
        for reconciler in reconcilers:
            await reconciler.close()
        return percent

    async def _percent(self) -> float:
        before, began = cpu_seconds(self.pid), time.monotonic()
        await asyncio.sleep(self.seconds)
        return 100 * (cpu_seconds(self.pid) - before) / (time.monotonic() - began)


async def main(documents: int, seconds: float, workers: int) -> None:
    print(f"{conditions()}; {documents:,} PENDING documents, {workers} reconcilers, {seconds:g} s each")
    with (
        tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder,
        EmbeddedPostgres(Path(folder) / "postgres") as postgres,
        EmbeddedValkey(Path(folder) / "valkey") as valkey,
        redis.Redis.from_url(valkey.url) as client,
    ):
        own = Settings(DATABASE_URL=postgres.url, REDIS_URL=valkey.url)
        await migrate(own)
        await fill(postgres.url, documents)
        async with database(own):
            await measure(Bench(postgres, client, seconds), workers)


async def measure(bench: Bench, workers: int) -> None:
    bench.broker.mark(await backlog.now() - timedelta(days=1))
    for _ in range(BATCH):
        bench.send("a message that nobody fetches")
    idle = await bench.idle()
    honest = await bench.swept(workers)
    print(f"  all wait honestly: {honest:.2f} % of a core, {idle:.2f} % with nobody sweeping;", end=" ")
    print(f"sent again: {bench.client.llen('bench:default') - BATCH}")

    bench.client.flushall()
    before, began = cpu_seconds(bench.pid), time.monotonic()
    reconciler, sweeps, first_s = bench.reconciler(), 0, 0.0
    while time.monotonic() - began < bench.seconds and await reconciler.sweep():
        sweeps += 1
        first_s = first_s or time.monotonic() - began
    took = time.monotonic() - began
    print(
        f"  the queue was emptied: the first {BATCH} are sent again after {first_s:.2f} s, then"
        f" {sweeps * BATCH / took:,.0f} messages/s by one worker,"
        f" {100 * (cpu_seconds(bench.pid) - before) / took:.0f} % of a core of the database meanwhile"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--workers", type=int, default=4)
    asked = parser.parse_args()
    asyncio.run(main(asked.documents, asked.seconds, asked.workers))
