"""Live events: what 1,000 listeners hear how late, what they cost, and what the log costs accepts.

.venv/bin/python -m bench.events [--listeners 1000] [--seconds 10] [--per-second 10 100]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import httpx

from app.core.config import Settings
from app.core.database import migrate
from app.embedded import EmbeddedPostgres, EmbeddedValkey
from bench.support import conditions
from tests.processes import APIProcess, api_process

#: Rounds of accepts, with the log and without it by turns.
ROUNDS = 8
ACCEPTS = 300
CLIENTS = 16


@contextmanager
def service() -> Iterator[tuple[APIProcess, str]]:
    """An API without workers, so that nobody else moves documents; with the database's address."""
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as name:
        folder = Path(name)
        with EmbeddedPostgres(folder / "postgres") as postgres, EmbeddedValkey(folder / "valkey") as valkey:
            os.environ |= {"DATABASE_URL": postgres.url, "REDIS_URL": valkey.url, "EMBEDDER": "hash"}
            asyncio.run(migrate(Settings()))
            environment = {"STORAGE_URL": f"file://{folder / 'content'}", "LOG_LEVEL": "WARNING"}
            with api_process(environment, folder / "api.log") as api:
                yield api, postgres.url


class Listener:
    """One connection, read as raw bytes: a thousand parsers of SSE would be the bench."""

    def __init__(self) -> None:
        self.heard: dict[int, float] = {}  # When, by the number of the change.
        self.is_ready = asyncio.Event()

    async def run(self, port: int, path: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
        writer.write(f"GET {path} HTTP/1.1\r\nhost: bench\r\n\r\n".encode())
        try:
            while line := await reader.readline():
                if line.startswith(b"event: ready"):
                    self.is_ready.set()
                # The change's number is in the field that no move here touches.
                _, found, rest = line.partition(b'"failures":')
                if found and (number := int(rest.partition(b",")[0])):
                    self.heard[number - 1] = time.perf_counter()
        finally:
            writer.close()


async def documents(connection: asyncpg.Connection, count: int) -> list[UUID]:
    """Rows that nobody works on."""
    ids = [uuid4() for _ in range(count)]
    await connection.execute("INSERT INTO collections (name) VALUES ('bench') ON CONFLICT DO NOTHING")
    await connection.execute(
        """
        INSERT INTO documents (id, collection, media_type, sha256, size_bytes)
        SELECT id, 'bench', 'text/plain', id::text, 1 FROM unnest($1::uuid[]) AS id
        """,
        ids,
    )
    return ids


async def changed(
    connection: asyncpg.Connection, ids: list[UUID], *, per_second: int, seconds: float
) -> list[float]:
    """Move one document after the other; when each move, by its number, was committed."""
    committed: list[float] = []
    began_at = time.perf_counter()
    for number in range(int(per_second * seconds)):
        await asyncio.sleep(max(began_at + number / per_second - time.perf_counter(), 0))
        await connection.execute(
            "UPDATE documents SET attempt = attempt + 1, failures = $2, updated_at = now() WHERE id = $1",
            ids[number % len(ids)],
            number + 1,  # None is 0, as documents are before that.
        )
        committed.append(time.perf_counter())
    return committed


async def looks(connection: asyncpg.Connection) -> int:
    """How often the log was read: each look goes through its index once, for what is behind the last."""
    await connection.execute("SELECT pg_stat_clear_snapshot()")
    return await connection.fetchval(
        "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'document_events_by_xid'"
    )  # type: ignore[no-any-return]


async def delays(port: int, url: str, *, count: int, per_second: int, seconds: float, apart: bool) -> None:
    """Print what `count` listeners hear, all of everything, or each of one document."""
    connection = await asyncpg.connect(url)
    ids = await documents(connection, count)
    listeners = [Listener() for _ in ids]
    paths = [f"/documents/{each}/events" if apart else "/events" for each in ids]
    running = [asyncio.create_task(each.run(port, path)) for each, path in zip(listeners, paths, strict=True)]
    began_at = time.perf_counter()
    await asyncio.gather(*(each.is_ready.wait() for each in listeners))
    joined_s = time.perf_counter() - began_at
    before, began_at = await looks(connection), time.perf_counter()
    committed = await changed(connection, ids, per_second=per_second, seconds=seconds)
    expected = len(committed) * (1 if apart else count)
    give_up_at = time.monotonic() + 30
    while sum(len(each.heard) for each in listeners) < expected and time.monotonic() < give_up_at:
        await asyncio.sleep(0.05)
    took_s = time.perf_counter() - began_at
    queries = (await looks(connection) - before) / took_s
    late = sorted(at - committed[n] for each in listeners for n, at in each.heard.items())
    p50, p99 = (1000 * statistics.quantiles(late, n=100)[n] for n in (49, 98))
    print(
        f"{count} listeners to {'one document each' if apart else 'everything'} (there in {joined_s:.1f} s),"
        f" {per_second} moves/s: {len(late) / took_s:,.0f} events/s heard, {len(late)} of {expected};"
        f" p50 {p50:.0f} ms, p99 {p99:.0f} ms; {queries:.1f} index scans/s",
        flush=True,
    )
    for each in running:
        each.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    await connection.close()


async def accepts(url: str, database_url: str) -> None:
    """Print how much of its speed an accept keeps when its move is logged."""
    connection = await asyncpg.connect(database_url)
    limits = httpx.Limits(max_connections=CLIENTS)
    seconds: dict[str, list[float]] = {"ENABLE": [], "DISABLE": []}
    async with httpx.AsyncClient(base_url=url, trust_env=False, limits=limits, timeout=60) as client:

        async def post(count: int) -> None:
            for _ in range(count):
                (await client.post("/ingest", json={"text": f"{uuid4()} " * 50})).raise_for_status()

        await asyncio.gather(*(post(20) for _ in range(CLIENTS)))
        for number in range(2 * ROUNDS):
            how = ("ENABLE", "DISABLE")[(number + number // 2) % 2]
            await connection.execute(f"ALTER TABLE documents {how} TRIGGER USER")
            began_at = time.perf_counter()
            await asyncio.gather(*(post(ACCEPTS // CLIENTS) for _ in range(CLIENTS)))
            seconds[how].append(time.perf_counter() - began_at)
    await connection.execute("ALTER TABLE documents ENABLE TRIGGER USER")
    await connection.close()
    count = ACCEPTS // CLIENTS * CLIENTS
    # The best round of each: what others do on the machine only ever makes it slower.
    logged, bare = (count / min(seconds[how]) for how in ("ENABLE", "DISABLE"))
    print(
        f"accepts of 2 KB: {bare:.0f}/s without the log, {logged:.0f}/s with it: {logged / bare:.2f}",
        flush=True,
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--listeners", type=int, default=1000)
    arguments.add_argument("--seconds", type=float, default=10)
    arguments.add_argument("--per-second", type=int, nargs="*", default=[10, 100])
    asked = arguments.parse_args()
    print(conditions(), flush=True)
    with service() as (api, url):
        asyncio.run(accepts(api.url, url))
        for apart in (True, False):
            for per_second in asked.per_second:
                asyncio.run(
                    delays(
                        api.port,
                        url,
                        count=asked.listeners,
                        per_second=per_second,
                        seconds=asked.seconds,
                        apart=apart,
                    )
                )


if __name__ == "__main__":
    main()
