"""The same documents into the same PostgreSQL: Sluice over HTTP beside what a program would import instead.

Each side has the same embedder (`EMBEDDER=static`), and chunks of about the same size; what it does about the
HNSW index, with the same parameters, stands in the table.
The others are timed from the texts in memory to their commit, in a process that has imported and loaded all;
Sluice from the first byte of `POST /ingest/batch` until the last document is COMPLETED.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple

from app.embedding.static import StaticModel
from bench import report
from bench.importing import imported
from bench.peers import ask_peer
from bench.peers.corpus import documents
from bench.support import Servers, conditions, cpu_seconds, fetch_value, servers, service

SHORT, FULL = 200, 2500  # Documents, of which each makes four or five chunks.
ROUNDS = 3
WORKERS = 2
CHUNK_TOKENS, OVERLAP_TOKENS = 256, 32
SETTINGS = {
    "EMBEDDER": "static",
    "CHUNK_TOKENS": str(CHUNK_TOKENS),
    "CHUNK_OVERLAP_TOKENS": str(OVERLAP_TOKENS),
    "LOG_LEVEL": "WARNING",
}
WARM_UP = 50  # Documents, so that each worker has its parsers up and its statements prepared.


class Run(NamedTuple):
    """One side, once."""

    seconds: float
    cpu_seconds: float  # Of all processes that took part, PostgreSQL's too.
    chunks: int
    versions: dict[str, str]


class Side(NamedTuple):
    """Who loads the documents, and what is to be known of it."""

    label: str
    load: Callable[[Servers, list[str]], Run]
    index: str
    keywords: str
    lost_in_a_crash: str
    retries: str


# --- Sluice -------------------------------------------------------------------------------------------------


def sluice(on: Servers, texts: list[str]) -> Run:
    """Through its API and its worker processes."""
    urls = {"DATABASE_URL": on.new_database_url(), "REDIS_URL": on.emptied_redis_url()}
    try:
        with service(workers=WORKERS, settings=SETTINGS | urls) as stack:
            asyncio.run(imported(stack, [{"text": f"Warm {n}."} for n in range(WARM_UP)]))
            count = "SELECT count(*) FROM chunk_vectors"
            before = asyncio.run(fetch_value(urls["DATABASE_URL"], count))
            cpu_before = cpu_seconds(os.getpid())  # API, workers and servers are below this process.
            items = [{"text": text} for text in texts]
            seconds = asyncio.run(imported(stack, items)).completed_s
            cpu = cpu_seconds(os.getpid()) - cpu_before
            rows = asyncio.run(fetch_value(urls["DATABASE_URL"], count))
        return Run(seconds, cpu, rows - before, {})
    finally:
        on.drop(urls["DATABASE_URL"])


# --- The others ---------------------------------------------------------------------------------------------


def peer(name: str, *, in_one_go: bool = False) -> Callable[[Servers, list[str]], Run]:
    """`bench/peers/<name>.py`, in a process of its own."""

    def load(on: Servers, texts: list[str]) -> Run:
        url = on.new_database_url()
        question = {
            "database_url": url,
            "texts": texts,
            "chunk_tokens": CHUNK_TOKENS,
            "overlap_tokens": OVERLAP_TOKENS,
            "tokens_per_word": tokens_per_word(texts),
            "in_one_go": in_one_go,
        }
        try:
            before = on.cpu_seconds()
            told = ask_peer(name, question)
            cpu = told["cpu_seconds"] + on.cpu_seconds() - before
            rows = asyncio.run(indexed_rows(url, told["table"]))
        finally:
            on.drop(url)
        if rows != told["chunks"]:
            sys.exit(f"{name} says that it has stored {told['chunks']} chunks, and there are {rows}.")
        return Run(told["seconds"], cpu, told["chunks"], told["versions"])

    return load


async def indexed_rows(database_url: str, table: str) -> int:
    """How many rows a table has that has an HNSW index."""
    indexes = "SELECT count(*) FROM pg_indexes WHERE tablename = '{}' AND indexdef LIKE '%USING hnsw%'"
    if await fetch_value(database_url, indexes.format(table)) != 1:
        sys.exit(f"{table} has no HNSW index.")
    return int(await fetch_value(database_url, f"SELECT count(*) FROM {table}"))


def tokens_per_word(texts: list[str]) -> float:
    """For those who count words."""
    some = texts[:50]
    model = StaticModel.load()
    return sum(len(model.token_offsets(text)) for text in some) / sum(len(text.split()) for text in some)


KEPT, AT_THE_END = "kept with each row", "made at the end, over all at once"
OPTIONAL = "can be had, off here"
ALL = "all: one transaction"

SIDES = [
    Side(
        "Sluice",
        sluice,
        "made beside the work, of 10,000 vectors each; the rest is compared one by one",
        "BM25",
        "nothing that was accepted",
        "five, by the row",
    ),
    Side("LlamaIndex", peer("llamaindex"), KEPT, OPTIONAL, ALL, "none"),
    Side("LangChain", peer("langchain"), KEPT, OPTIONAL, "what is not stored yet", "none"),
    Side("Haystack", peer("haystack"), KEPT, "`ts_rank` over a GIN index", ALL, "none"),
    Side("txtai", peer("txtai"), KEPT, OPTIONAL, ALL, "none"),
    Side(
        "LangChain, index at the end",
        peer("langchain", in_one_go=True),
        AT_THE_END,
        OPTIONAL,
        "what is not stored yet",
        "none",
    ),
    Side("txtai, index at the end", peer("txtai", in_one_go=True), AT_THE_END, OPTIONAL, ALL, "none"),
]

# --- The comparison -----------------------------------------------------------------------------------------


def compare(on: Servers, texts: list[str]) -> dict[str, list[Run]]:
    """All sides in turn, every other round the other way round."""
    runs: dict[str, list[Run]] = defaultdict(list)
    for number in range(ROUNDS):
        for side in SIDES[:: 1 if number % 2 == 0 else -1]:
            run = side.load(on, texts)
            runs[side.label].append(run)
            said = f"{run.chunks} chunks in {run.seconds:.1f} s, {run.cpu_seconds:.1f} s of CPU"
            print(f"round {number + 1} of {ROUNDS}: {side.label}: {said}", file=sys.stderr)
    return {side.label: runs[side.label] for side in SIDES}


def ratios(bars: list[report.Bar]) -> str:
    """How many times the best of the others Sluice is, by medians."""
    kept = {side.label for side in SIDES if side.index == KEPT}
    ours, *others = bars
    best_kept = max((bar for bar in others if bar.label in kept), key=lambda bar: bar.median)
    best = max(others, key=lambda bar: bar.median)
    said = f"{ours.median / best_kept.median:.2f} times the best that keeps its index ({best_kept.label})"
    if best is not best_kept:
        said += f", {ours.median / best.median:.2f} times the best of all ({best.label})"
    return said


def section(head: str, runs: dict[str, list[Run]], bars: list[report.Bar], count: int) -> str:
    """For docs/performance.md."""
    rows = []
    for side, bar in zip(SIDES, bars, strict=True):
        chunks = runs[side.label][0].chunks
        seconds = [run.seconds for run in runs[side.label]]
        rows.append(
            [
                side.label,
                f"{report.figure(bar.median)} ({bar.spread})",
                report.figure(bar.median * chunks / count),
                report.figure(statistics.median(seconds)),
                f"{chunks:,}",
                report.figure(statistics.median(run.cpu_seconds for run in runs[side.label]) / count * 1000),
                side.index,
                side.keywords,
                side.lost_in_a_crash,
                side.retries,
            ]
        )
    names = ["documents/s (spread)", "chunks/s", "seconds until all is searchable", "chunks"]
    names += ["CPU ms a document"]
    names += ["HNSW index", "keyword index", "a crash loses", "retries"]
    return "\n\n".join(
        [
            head,
            "![Documents a second of Sluice and of four libraries](images/peers.svg)",
            report.table(["", *names], rows),
            f"By documents/s, Sluice is {ratios(bars)}.",
        ]
    )


def main() -> None:
    asked = report.parser(__doc__.splitlines()[0]).parse_args()
    count = FULL if asked.full else SHORT
    texts = documents(count)
    before = conditions()
    with servers() as on:
        server_versions = on.versions()
        runs = compare(on, texts)
    versions = {name: version for side in runs.values() for name, version in side[0].versions.items()}
    head = (
        f"{count} documents of four Cranfield abstracts each, chunks of at most {CHUNK_TOKENS} tokens with"
        f" {OVERLAP_TOKENS} shared, {WORKERS} worker processes of Sluice, {ROUNDS} alternating rounds;"
        f" {before}; {server_versions},"
        f" {', '.join(f'{name} {version}' for name, version in sorted(versions.items()))}."
    )
    bars = [
        report.Bar(side.label, [count / run.seconds for run in runs[side.label]], side.load is sluice)
        for side in SIDES
    ]
    title = "documents/s until searchable, median of the rounds"
    report.publish(
        asked,
        "bench.peers",
        text=f"{head}\n\n{report.text_bars(title, bars)}\n\nSluice is {ratios(bars)}.",
        markdown=section(head, runs, bars, count),
        figures={
            "head": head,
            "runs": {name: [run._asdict() for run in each] for name, each in runs.items()},
        },
        pictures={"peers.svg": report.svg_bars(title, bars)},
    )


if __name__ == "__main__":
    main()
