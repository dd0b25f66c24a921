"""How fast searches answer, and how much of the truth they find, over many chunks; over HTTP.

The texts are Cranfield's sentences, put together anew at random; a chunk's vector is that of a real passage
with noise. They are stored as a worker stores them, but for the HNSW index, which is built over all at once.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import re
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import numpy as np
from numpy.typing import NDArray
from pgvector import HalfVector

from app.core.database import prepare_connection
from app.embedding.minilm import MiniLMEmbedder
from app.models.chunk_words import Said, store
from app.models.vector_parts import WORTH_AN_INDEX
from bench.cranfield import cranfield
from bench.support import conditions, counted, service

PER_DOCUMENT = 5
COLLECTIONS = 100
NOISE = 0.6  # As long as so much of the vector itself: the cosine of two copies is about 0.75.
CASES: dict[str, dict[str, Any]] = {
    "keyword": {"mode": "keyword"},
    "vector": {"mode": "vector"},
    "hybrid": {"mode": "hybrid"},
    "vector, one collection of 100": {"mode": "vector", "collections": ["c7"]},
    "keyword, one collection of 100": {"mode": "keyword", "collections": ["c7"]},
    "vector, filter that 1 % pass": {
        "mode": "vector",
        "filter": {"field": "metadata.hundredth", "eq": 7},
    },
    "vector, filter that half pass": {"mode": "vector", "filter": {"field": "metadata.half", "eq": 1}},
}


async def real_vectors(texts: list[str]) -> NDArray[np.float32]:
    """What the model makes of the abstracts."""
    embedder = await MiniLMEmbedder.open(cache_dir=Path(".data/models"), threads=2)
    try:
        return await embedder.embed(texts)
    finally:
        await embedder.close()


FRESH = """
    SELECT count(*) FROM chunk_vectors WHERE chunk_id > (SELECT COALESCE(max(up_to), 0) FROM vector_parts)
"""


async def fill(
    database_url: str, texts: list[str], vectors: NDArray[np.float32], chunks: int
) -> dict[str, float]:
    """Store so many chunks; seconds by what took them."""
    connection = await asyncpg.connect(database_url)
    await prepare_connection(connection)
    took: dict[str, float] = {}
    chance, dice = random.Random(7), np.random.default_rng(7)
    sentences = [s.strip() for text in texts for s in re.split(r"(?<= \.) ", text) if len(s) > 40]
    try:
        await connection.execute(
            "INSERT INTO collections (name, weighed_length, space_id)"
            " SELECT 'c' || n, 60, 1 FROM generate_series(0, 99) AS n"
        )
        next_id = itertools.count(1)
        for first in range(0, chunks, 5000):
            # The workers count meanwhile, and what comes later is weighed by that.
            known = await connection.fetch("SELECT id, name, weighed_length FROM collections")
            collections = {row["name"]: row for row in known}
            documents, rows, said, stored = [], [], [], []
            noise = dice.standard_normal((5000, vectors.shape[1]), np.float32)
            noise *= NOISE / np.linalg.norm(noise, axis=1, keepdims=True)
            own = vectors[dice.integers(0, len(vectors), 5000)] + noise
            own /= np.linalg.norm(own, axis=1, keepdims=True)
            for number in range(first // PER_DOCUMENT, (first + 5000) // PER_DOCUMENT):
                document_id = uuid4()
                metadata = f'{{"hundredth": {number % 101 % 100}, "half": {number % 2}}}'
                collection = collections[f"c{number % COLLECTIONS}"]
                documents.append((document_id, collection["name"], f"{number:064d}", metadata))
                for ordinal in range(PER_DOCUMENT):
                    text = " ".join(chance.sample(sentences, 6))
                    chunk_id = next(next_id)
                    rows.append(
                        (chunk_id, document_id, 1, ordinal, "", text, 0, len(text), None, None, [], 150)
                    )
                    said.append(
                        Said(
                            chunk_id,
                            document_id,
                            text,
                            [],
                            None,
                            collection["id"],
                            "english",
                            collection["weighed_length"],
                        )
                    )
                    stored.append((chunk_id, 1, document_id, HalfVector(own[len(stored)])))
            begun = time.perf_counter()
            await connection.executemany(
                """INSERT INTO documents (id, collection, sha256, media_type, size_bytes, status, stage,
                    completed_at, indexed_version, chunk_count, metadata, cited)
                VALUES ($1, $2, $3, 'text/plain', 1, 'COMPLETED', NULL, now(), 1, 5, $4::jsonb,
                    jsonb_build_object('title', NULL, 'source_name', NULL, 'metadata', $4::jsonb))""",
                documents,
            )
            await connection.copy_records_to_table(
                "chunks",
                records=rows,
                columns=(
                    "id",
                    "document_id",
                    "version",
                    "ordinal",
                    "gap",
                    "text",
                    "char_start",
                    "char_end",
                    "page",
                    "page_end",
                    "headings",
                    "token_count",
                ),
            )
            took["rows"] = took.get("rows", 0) + time.perf_counter() - begun
            begun = time.perf_counter()
            await store(connection, said)
            took["words"] = took.get("words", 0) + time.perf_counter() - begun
            begun = time.perf_counter()
            await connection.copy_records_to_table(
                "chunk_vectors", records=stored, columns=("chunk_id", "space_id", "document_id", "embedding")
            )
            took["vectors"] = took.get("vectors", 0) + time.perf_counter() - begun
        await connection.execute("SELECT setval('chunks_id_seq', $1)", chunks + 1)
        await connection.execute(
            "INSERT INTO chunk_changes (collection_id, chunks) SELECT id, $1::int / 100 FROM collections",
            chunks,
        )
        await connection.execute("VACUUM ANALYZE")
        begun = time.perf_counter()
        while await connection.fetchval(FRESH) >= WORTH_AN_INDEX:  # The workers began while it was filled.
            await asyncio.sleep(1)
        took["HNSW, after all else"] = time.perf_counter() - begun
        return took
    finally:
        await connection.close()


async def sizes(database_url: str) -> dict[str, str]:
    """Of tables and indexes."""
    connection = await asyncpg.connect(database_url)
    try:
        return dict(
            await connection.fetch(
                """SELECT relname, pg_size_pretty(CASE WHEN relkind = 'r' THEN pg_table_size(oid)
                    ELSE pg_relation_size(oid) END) FROM pg_class
                WHERE relname IN ('chunks', 'chunk_words', 'chunk_vectors', 'chunk_words_by_word',
                    'documents_by_metadata') OR relname LIKE 'chunk_vectors_space%' ORDER BY relname"""
            )
        )
    finally:
        await connection.close()


async def ask(client: httpx.AsyncClient, query: str, how: dict[str, Any]) -> tuple[list[int], float]:
    """The chunks found, and the seconds that it took."""
    begun = time.perf_counter()
    answer = await client.post("/search", json={"query": query, **how})
    seconds = time.perf_counter() - begun
    answer.raise_for_status()
    return [hit["chunk_id"] for hit in answer.json()["hits"]], seconds


async def ask_all(
    client: httpx.AsyncClient, queries: list[str], how: dict[str, Any], clients: int
) -> tuple[list[list[int]], list[float]]:
    """All queries, by so many clients at once."""
    waiting = list(enumerate(queries))
    found: dict[int, list[int]] = {}
    seconds: list[float] = []

    async def one() -> None:
        while waiting:
            number, query = waiting.pop()
            found[number], took = await ask(client, query, how)
            seconds.append(took)

    await asyncio.gather(*(one() for _ in range(clients)))
    return [found[number] for number in range(len(queries))], seconds


def quantiles(seconds: list[float]) -> str:
    """p50 and p95 in milliseconds."""
    return f"{statistics.median(seconds) * 1000:.0f} / {statistics.quantiles(seconds, n=20)[18] * 1000:.0f}"


@asynccontextmanager
async def ingesting(client: httpx.AsyncClient, texts: list[str]) -> AsyncIterator[list[int]]:
    """Documents posted for as long as the block lasts, always a few hundred ahead of the workers."""
    posted = [0]

    async def post() -> None:
        for number in itertools.count():
            text = f"{number}. {random.Random(number).choice(texts)}"
            (await client.post("/ingest", json={"text": text, "collection": "new"})).raise_for_status()
            posted[0] += 1
            if number % 100 == 99:
                while (await client.get("/collections/new")).json()["documents"].get("PENDING", 0) > 300:
                    await asyncio.sleep(0.2)

    task = asyncio.create_task(post())
    try:
        yield posted
    finally:
        task.cancel()


async def measure(
    stack: Any,
    chunks: int,
    queries: list[str],
    texts: list[str],
    vectors: NDArray[np.float32],
    *,
    only: Sequence[str],
) -> None:
    took = await fill(stack.settings.DATABASE_URL, texts, vectors, chunks)
    print("filled: " + ", ".join(f"{name} {chunks / seconds:,.0f}/s" for name, seconds in took.items()))
    print(
        "sizes: "
        + ", ".join(f"{name} {size}" for name, size in (await sizes(stack.settings.DATABASE_URL)).items())
    )
    async with httpx.AsyncClient(base_url=stack.options.url, timeout=120, trust_env=False) as client:
        await counted(stack.settings.DATABASE_URL)
        await ask_all(client, queries[:20], {"mode": "hybrid"}, 1)  # Everything is in memory after these.
        print("| | p50 / p95 ms, 1 client | 8 clients | recall@10 | hits |\n|---|---|---|---|---|")
        for name in only:
            how = CASES[name]
            found, alone = await ask_all(client, queries, how, 1)
            _, together = await ask_all(client, queries, how, 8)
            exact, _ = await ask_all(client, queries, {**how, "exact": True}, 2)
            recall = statistics.mean(
                len(set(some) & set(all_)) / max(len(all_), 1)
                for some, all_ in zip(found, exact, strict=True)
            )
            hits = statistics.mean(len(some) for some in found)
            print(
                f"| {name} | {quantiles(alone)} | {quantiles(together)} | {recall:.3f} | {hits:.1f} |",
                flush=True,
            )
        _, idle = await ask_all(client, queries, {"mode": "hybrid"}, 1)
        async with ingesting(client, texts) as posted:
            await asyncio.sleep(5)
            _, busy = await ask_all(client, queries, {"mode": "hybrid"}, 1)
        ratio = statistics.quantiles(busy, n=20)[18] / statistics.quantiles(idle, n=20)[18]
        print(
            f"hybrid while ingesting ({posted[0]} documents posted): {quantiles(busy)} ms,"
            f" idle {quantiles(idle)} ms, p95 {ratio:.1f} times idle"
        )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--chunks", type=int, nargs="+", default=[100_000])
    arguments.add_argument("--queries", type=int, default=200)
    arguments.add_argument("--only", nargs="+", metavar="CASE", choices=CASES, default=list(CASES))
    asked = arguments.parse_args()
    data = cranfield()
    texts = list(data.texts.values())
    vectors = asyncio.run(real_vectors(texts))
    for chunks in asked.chunks:
        if chunks % 5000:
            sys.exit("--chunks counts in 5,000s")
        print(f"\n{chunks:,} chunks, {asked.queries} queries, minilm int8; {conditions()}", flush=True)
        with service(workers=2) as stack:
            some = list(data.queries.values())[: asked.queries]
            asyncio.run(measure(stack, chunks, some, texts, vectors, only=asked.only))


if __name__ == "__main__":
    main()
