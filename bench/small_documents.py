"""Many small documents through `POST /ingest/batch`, beside COPY of the same rows into the same tables."""

from __future__ import annotations

import asyncio
import io
import random
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from operator import truediv

import asyncpg

from app.models.vector_space import VectorSpace
from bench.importing import imported
from bench.report import Bar, figure, parser, publish, svg_bars, table, text_bars
from bench.support import Servers, conditions, servers, service

WORDS = 200
#: Rows in a transaction of the COPY, which is what a loader would take.
ROWS_AT_ONCE = 1000
ROUNDS = 3
SETTINGS = {"EMBEDDER": "hash"}
TABLES = ("chunks", "chunk_vectors", "chunk_words")

#: What COPY takes, by table.
Part = Mapping[str, bytes]

SLUICE, LOADED, INDEXED = "Sluice, from POST to COMPLETED", "COPY", "COPY, with an HNSW index"


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--documents", type=int, help="10,000, and 100,000 with --full")
    arguments.add_argument("--workers", type=int, default=2)
    arguments.add_argument("--rounds", type=int, default=ROUNDS)
    asked = arguments.parse_args()
    documents = asked.documents or (100_000 if asked.full else 10_000)
    setting = (
        f"{documents:,} documents of {WORDS} random words, a chunk each, `hash`, {asked.workers} worker"
        f" processes, as many connections for COPY, fsync on, {asked.rounds} rounds; {conditions()}"
    )
    found: dict[str, list[float]] = defaultdict(list)
    with servers() as on:
        for number in range(asked.rounds):
            for name, per_s in measured(on, documents, workers=asked.workers).items():
                found[name].append(per_s)
                print(f"round {number + 1} of {asked.rounds}: {name}: {per_s:.0f}/s", file=sys.stderr)
    bars = [Bar(name, values, is_ours=name == SLUICE) for name, values in found.items()]
    ratios = " and ".join(
        f"{statistics.median(map(truediv, found[SLUICE], found[name])):.2f} times {name}"
        for name in (LOADED, INDEXED)
    )
    title = "Small documents a second"
    publish(
        asked,
        "bench.small_documents",
        text=f"{setting}\n{text_bars(title, bars)}\nRound by round, Sluice is {ratios}.",
        markdown=f"{setting}.\n\n![{title}](images/small_documents.svg)\n\n"
        + table(
            ["", "documents/s (spread)"],
            [[bar.label, f"{figure(bar.median)} ({bar.spread})"] for bar in bars],
        )
        + f"\n\nRound by round, Sluice is {ratios}.",
        figures=found,
        pictures={"small_documents.svg": svg_bars(title, bars)},
    )


def measured(on: Servers, documents: int, *, workers: int) -> dict[str, float]:
    """Documents a second: by Sluice, and then, with Sluice stopped, by COPY."""
    database_url = on.new_database_url()
    urls = {"DATABASE_URL": database_url, "REDIS_URL": on.emptied_redis_url()}
    try:
        with service(workers=workers, settings=SETTINGS | urls) as stack:
            items = [{"text": text} for text in small_texts(documents)]
            done = asyncio.run(imported(stack, items))
        return {SLUICE: documents / done.completed_s, **asyncio.run(copied_per_s(database_url, workers))}
    finally:
        on.drop(database_url)


def small_texts(documents: int) -> list[str]:
    """Of random words, as common and as rare as words are."""
    chance = random.Random(7)
    words = ["".join(chance.choices("abcdefghijklmnoprstuvw", k=chance.randint(3, 9))) for _ in range(20_000)]
    weights = [1 / rank for rank in range(1, len(words) + 1)]
    return [f"{n} {' '.join(chance.choices(words, weights, k=WORDS))}" for n in range(documents)]


async def copied_per_s(database_url: str, connections: int) -> dict[str, float]:
    """The rows that the documents became, taken out and put in again: with our indexes, and with one more."""
    pool = await asyncpg.create_pool(database_url, min_size=connections, max_size=connections)
    try:
        rows, parts = await taken_out(pool)
        found = {}
        for name in (LOADED, INDEXED):
            await pool.execute(f"TRUNCATE {', '.join(TABLES)}")
            await drop_indexes(pool)
            if name == INDEXED:
                await index_all(pool)
            await pool.execute("CHECKPOINT")  # Not one in the middle, for what others have written before.
            waiting = iter(parts)
            begun = time.perf_counter()
            await asyncio.gather(*(put_in(pool, waiting) for _ in range(connections)))
            found[name] = rows / (time.perf_counter() - begun)
        return found
    finally:
        await pool.close()


async def taken_out(pool: asyncpg.Pool) -> tuple[int, list[Part]]:
    """How many chunks there are; and all, by a thousand, with vectors and words, as COPY wants them."""
    ids = [row["id"] for row in await pool.fetch("SELECT id FROM chunks ORDER BY id")]
    parts = []
    for first in range(0, len(ids), ROWS_AT_ONCE):
        some = ids[first : first + ROWS_AT_ONCE]
        part = {}
        for name in TABLES:
            key = "id" if name == "chunks" else "chunk_id"
            data = io.BytesIO()
            await pool.copy_from_query(
                f"SELECT * FROM {name} WHERE {key} BETWEEN $1 AND $2",
                some[0],
                some[-1],
                output=data,
                format="binary",
            )
            part[name] = data.getvalue()
        parts.append(part)
    return len(ids), parts


async def put_in(pool: asyncpg.Pool, waiting: Iterator[Part]) -> None:
    """A transaction for each thousand, while there are any."""
    for part in waiting:
        async with pool.acquire() as connection, connection.transaction():
            for name, data in part.items():
                await connection.copy_to_table(name, source=io.BytesIO(data), format="binary")


async def drop_indexes(pool: asyncpg.Pool) -> None:
    """All of vectors: those of the parts, and one that was just being made."""
    await pool.execute("DELETE FROM vector_parts")
    for row in await pool.fetch(
        """
        SELECT i.indexrelid::regclass AS name FROM pg_index AS i
            JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_am AS m ON m.oid = c.relam
        WHERE m.amname = 'hnsw'
        """
    ):
        await pool.execute(f"DROP INDEX {row['name']}")


async def index_all(pool: asyncpg.Pool) -> None:
    """One index for all vectors, kept up to date by each of them."""
    (space,) = await pool.fetch(f"SELECT id, dimensions FROM {VectorSpace.Meta.table}")
    await pool.execute(
        "CREATE INDEX ON chunk_vectors USING hnsw"
        f" ((embedding::halfvec({space['dimensions']})) halfvec_ip_ops) WHERE space_id = {space['id']}"
    )


if __name__ == "__main__":
    main()
