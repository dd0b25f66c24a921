"""How well searches answer: Cranfield's 225 queries over HTTP, beside bm25s and PostgreSQL's ts_rank."""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from bench.cranfield import Cranfield, cranfield, judged
from bench.peers import ask_peer
from bench.support import conditions, counted, service

DEPTH = 100
POSTGRES_RANKS = ("ts_rank(words, q)", "ts_rank(words, q, 1)", "ts_rank_cd(words, q)")
MODES: dict[str, dict[str, Any]] = {
    "keyword": {"mode": "keyword"},
    "vector": {"mode": "vector"},
    "hybrid": {"mode": "hybrid"},
}


async def ingest(client: httpx.AsyncClient, data: Cranfield) -> None:
    """All documents, each under its number, until they are final."""
    locations = []
    for number, text in data.texts.items():
        answer = await client.post(
            "/ingest", json={"text": text, "title": data.titles[number], "external_id": number}
        )
        answer.raise_for_status()
        locations.append(answer.headers["location"])
    for location in locations:
        document: dict[str, Any] = {"status": "PENDING"}
        while document["status"] not in {"COMPLETED", "FAILED"}:
            document = (await client.get(location, params={"wait": 60})).json()
        if document["status"] == "FAILED":
            sys.exit(f"{location}: {document['error']}")


async def ask(
    client: httpx.AsyncClient, data: Cranfield, how: dict[str, Any], numbers: dict[str, str]
) -> tuple[dict[str, list[str]], list[float]]:
    """A ranking of documents for each query, by the best chunk of each, and the seconds that it took."""
    rankings, seconds = {}, []
    for query, text in data.queries.items():
        begun = time.perf_counter()
        answer = await client.post(
            "/search", json={"query": text, "top_k": DEPTH, "max_per_document": 1, **how}
        )
        seconds.append(time.perf_counter() - begun)
        answer.raise_for_status()
        rankings[query] = [numbers[hit["document_id"]] for hit in answer.json()["hits"]]
    return rankings, seconds


async def ts_rank(database_url: str, data: Cranfield, rank: str) -> dict[str, list[str]]:
    """What PostgreSQL ranks by itself: the same titles and texts, any of the words."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("CREATE TEMP TABLE texts (number TEXT, words TSVECTOR)")
        await connection.executemany(
            "INSERT INTO texts VALUES ($1, to_tsvector('english', $2))", read(data).items()
        )
        return {
            query: [
                row["number"]
                for row in await connection.fetch(
                    f"""
                    SELECT number FROM texts, LATERAL (
                        SELECT replace(plainto_tsquery('english', $1)::text, '&', '|')::tsquery AS q
                    ) AS asked WHERE words @@ q ORDER BY {rank} DESC, number LIMIT {DEPTH}
                    """,
                    text,
                )
            ]
            for query, text in data.queries.items()
        }
    finally:
        await connection.close()


def read(data: Cranfield) -> dict[str, str]:
    """What the peers read: as Sluice does, the title beside the text."""
    return {number: f"{data.titles[number]} {text}" for number, text in data.texts.items()}


def bm25s(data: Cranfield) -> dict[str, list[str]]:
    """What the library ranks."""
    numbers = list(data.texts)
    found = ask_peer(
        "bm25s",
        {"texts": list(read(data).values()), "queries": list(data.queries.values()), "depth": DEPTH},
    )
    return {query: [numbers[n] for n in ranking] for query, ranking in zip(data.queries, found, strict=True)}


async def measure(url: str, database_url: str, data: Cranfield) -> list[tuple[str, float, float, str]]:
    """Rows of the table: who, nDCG@10, recall@100, milliseconds."""
    rows = []
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:
        await ingest(client, data)
        await counted(database_url)
        listed: dict[str, str] = {}
        cursor: str | None = None
        while cursor is not None or not listed:
            page = (
                await client.get(
                    "/documents", params={"limit": 500, **({"cursor": cursor} if cursor else {})}
                )
            ).json()
            listed |= {one["document_id"]: one["external_id"] for one in page["documents"]}
            cursor = page["next_cursor"]
        for name, how in MODES.items():
            rankings, seconds = await ask(client, data, how, listed)
            times = f"{statistics.median(seconds) * 1000:.0f}"
            rows.append((f"Sluice, {name}", *judged(rankings, data), times))
    rows.append(("bm25s", *judged(bm25s(data), data), ""))
    own = {rank: await ts_rank(database_url, data, rank) for rank in POSTGRES_RANKS}
    return rows + [(f"PostgreSQL, {rank}", *judged(ranked, data), "") for rank, ranked in own.items()]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--table", type=Path, help="write the table to this file too")
    asked = arguments.parse_args()
    data = cranfield()
    head = f"{len(data.texts)} abstracts, {len(data.queries)} queries, minilm int8; {conditions()}"
    print(head)
    with service(workers=2) as stack:
        rows = asyncio.run(measure(stack.options.url, stack.settings.DATABASE_URL, data))
    table = ["| | nDCG@10 | recall@100 | ms, median |", "|---|---|---|---|"]
    table += [f"| {name} | {gain:.3f} | {found:.3f} | {ms} |" for name, gain, found, ms in rows]
    print("\n".join(table))
    if asked.table:
        asked.table.write_text(head + "\n\n" + "\n".join(table) + "\n")


if __name__ == "__main__":
    main()
