"""One small document, while another collection imports thousands: how soon it is searchable."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import time

import asyncpg
import httpx

from bench.load import percentile
from bench.support import conditions, service

#: The import is watched until so few of its documents wait.
LEFT = 50


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--documents", type=int, default=4000, help="of the import")
    arguments.add_argument("--workers", type=int, default=2)
    asked = arguments.parse_args()
    os.environ["EMBEDDER"] = "hash"
    print(f"{asked.documents} documents imported, {asked.workers} worker processes; {conditions()}")
    with service(workers=asked.workers) as stack:
        asyncio.run(measure(stack.options.url, stack.settings.DATABASE_URL, asked.documents))


async def measure(url: str, database_url: str, documents: int) -> None:
    """Print how long single documents take before an import and during it."""
    connection = await asyncpg.connect(database_url)
    try:
        async with httpx.AsyncClient(base_url=url, timeout=600, trust_env=False) as client:
            idle = [await searchable_s(client, connection) for _ in range(10)]
            begun = time.perf_counter()
            (await client.post("/ingest/batch", **batch(documents))).raise_for_status()
            accepted_s = time.perf_counter() - begun
            waits, backlogs = [], []
            while (left := await waiting(connection)) > LEFT:
                backlogs.append(left)
                waits.append(await searchable_s(client, connection))
                await asyncio.sleep(random.uniform(0.2, 0.6))
            took_s = time.perf_counter() - begun
    finally:
        await connection.close()
    print(f"import        accepted in {accepted_s:.1f} s, done in {took_s:.1f} s")
    print(f"idle          {told(idle)}")
    print(f"during import {told(waits)}, {len(waits)} documents behind {max(backlogs)} to {min(backlogs)}")


def told(seconds: list[float]) -> str:
    return f"p50 {percentile(seconds, 50):.2f} s  p99 {percentile(seconds, 99):.2f} s"


def text() -> str:
    return f"The gate was opened {random.getrandbits(64)} times before the water rose. " * 8


def batch(documents: int) -> dict[str, object]:
    """A request that imports as many, as NDJSON."""
    lines = (json.dumps({"text": text(), "collection": "import"}) for _ in range(documents))
    return {"content": "\n".join(lines).encode(), "headers": {"content-type": "application/x-ndjson"}}


async def waiting(connection: asyncpg.Connection) -> int:
    """Documents of the import that no worker has begun with."""
    count: int = await connection.fetchval(
        "SELECT count(*) FROM documents WHERE collection = 'import' AND status = 'PENDING'"
    )
    return count


async def searchable_s(client: httpx.AsyncClient, connection: asyncpg.Connection) -> float:
    """Seconds from a POST until the document's chunks are committed."""
    begun = time.perf_counter()
    answer = await client.post("/ingest", json={"text": text(), "collection": "single"})
    answer.raise_for_status()
    document_id = answer.json()["document_id"]
    while await connection.fetchval("SELECT status <> 'COMPLETED' FROM documents WHERE id = $1", document_id):
        await asyncio.sleep(0.005)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
