"""One small document, while another collection imports thousands: how soon it is searchable."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from typing import NamedTuple

import asyncpg
import httpx

from bench.importing import BATCH
from bench.load import percentile
from bench.report import figure, parser, publish, table
from bench.support import conditions, service

#: The import is watched until so few of its documents wait.
LEFT = 50


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--documents", type=int, help="of the import; 10,000, and 50,000 with --full")
    arguments.add_argument("--workers", type=int, default=2)
    arguments.add_argument("--embedder", default="hash", help="of Sluice's; a slow one is the harder test")
    asked = arguments.parse_args()
    documents = asked.documents or (50_000 if asked.full else 10_000)
    os.environ["EMBEDDER"] = asked.embedder
    imported = f"{documents:,} documents imported, `{asked.embedder}`"
    setting = f"{imported}, {asked.workers} worker processes; {conditions()}"
    with service(workers=asked.workers) as stack:
        run = asyncio.run(measured(stack.options.url, stack.settings.DATABASE_URL, documents))
    told = table(
        ["seconds from `POST /ingest` to searchable", "p50", "p99", "most"],
        [["nothing else to do", *_row(run.idle_s)], ["during the import", *_row(run.during_s)]],
    )
    course = (
        f"The import took {run.import_s:.0f} s; meanwhile {len(run.during_s)} documents of another collection"
        f" were posted, with {max(run.backlogs):,} to {min(run.backlogs):,} of the import waiting."
    )
    publish(
        asked,
        "bench.fairness",
        text=f"{setting}\n{told}\n{course}",
        markdown=f"{setting}.\n\n{told}\n\n{course}",
        figures=run._asdict(),
        pictures={},
    )


class Run(NamedTuple):
    """What was measured, in seconds; `backlogs` are the import's when each of `during_s` was posted."""

    idle_s: list[float]
    during_s: list[float]
    backlogs: list[int]
    import_s: float


async def measured(url: str, database_url: str, documents: int) -> Run:
    """How long single documents take before an import and during it."""
    connection = await asyncpg.connect(database_url)
    try:
        async with httpx.AsyncClient(base_url=url, timeout=600, trust_env=False) as client:
            for _ in range(5):  # The first ones start what is started on first use.
                await searchable_s(client, connection)
            run = Run([await searchable_s(client, connection) for _ in range(10)], [], [], 0)
            begun = time.perf_counter()
            posting = asyncio.create_task(post(client, documents))
            while (left := await waiting(connection)) > LEFT or not posting.done():
                if left > LEFT:
                    run.backlogs.append(left)
                    run.during_s.append(await searchable_s(client, connection))
                await asyncio.sleep(random.uniform(0.2, 0.6))
            await posting
            return run._replace(import_s=time.perf_counter() - begun)
    finally:
        await connection.close()


def _row(seconds: list[float]) -> list[str]:
    return [figure(value) for value in (percentile(seconds, 50), percentile(seconds, 99), max(seconds))]


def text() -> str:
    return f"The gate was opened {random.getrandbits(64)} times before the water rose. " * 8


async def post(client: httpx.AsyncClient, documents: int) -> None:
    """Import as many, as NDJSON, in as few requests as the server takes them."""
    headers = {"content-type": "application/x-ndjson"}
    for first in range(0, documents, BATCH):
        some = range(min(BATCH, documents - first))
        lines = "\n".join(json.dumps({"text": text(), "collection": "import"}) for _ in some)
        answer = await client.post("/ingest/batch", content=lines.encode(), headers=headers)
        answer.raise_for_status()
        if answer.json()["created"] != len(some):
            sys.exit(f"Of {len(some)} documents, not all were taken: {answer.json()['error']}")


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
