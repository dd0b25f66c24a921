"""The whole pipeline with MiniLM, beside the embedder alone on the same chunks, in as many processes.

Cranfield's abstracts are posted in one batch; the real PDFs as files, several times, as there are few.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from operator import truediv
from pathlib import Path
from typing import NamedTuple

import asyncpg

from app.embedding.minilm import MiniLMEmbedder
from bench.cranfield import abstracts
from bench.importing import imported, imported_files
from bench.report import Bar, figure, parser, publish, svg_bars, table, text_bars
from bench.support import Servers, conditions, corpora, servers, service

ROUNDS = 3
SETTINGS = {"EMBEDDER": "minilm", "EMBEDDER_THREADS": "1", "LOG_LEVEL": "WARNING"}
CRANFIELD, PDFS = "Cranfield", "PDFs"
COPIES = 4  # Of each PDF.
ALL = 1_398  # Abstracts of Cranfield that differ.
#: So that each worker has its model and parsers up and its statements prepared.
WARM_UP = [{"text": f"The gate {number} is open.", "collection": "warm"} for number in range(40)]
#: Folders of those that have no text, are damaged, or ask for a password.
UNREADABLE = ("005", "007", "017", "019", "023")


class Run(NamedTuple):
    """One corpus, once."""

    documents: int
    chunks: int
    seconds: float  # Until the last was COMPLETED.
    alone_s: float  # The embedder on the same chunks.

    @property
    def per_s(self) -> float:
        return self.chunks / self.seconds

    @property
    def alone_per_s(self) -> float:
        return self.chunks / self.alone_s


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--documents", type=int, help="abstracts: 400, and all with --full")
    arguments.add_argument("--workers", type=int, default=2)
    arguments.add_argument("--rounds", type=int, default=ROUNDS)
    asked = arguments.parse_args()
    texts = abstracts(asked.documents or (ALL if asked.full else 400))
    setting = (
        f"{len(texts):,} abstracts of Cranfield in one batch, and {len(readable_pdfs())} real PDFs, {COPIES}"
        f" times each; `minilm` int8, {asked.workers} processes with a thread each; {asked.rounds} rounds;"
        f" {conditions()}"
    )
    runs: dict[str, list[Run]] = defaultdict(list)
    with servers() as on:
        for number in range(asked.rounds):
            for name in (CRANFIELD, PDFS):
                run = measured(on, texts if name == CRANFIELD else None, workers=asked.workers)
                runs[name].append(run)
                said = f"{run.per_s:.1f} chunks/s, the embedder alone {run.alone_per_s:.1f}"
                print(f"round {number + 1} of {asked.rounds}: {name}: {said}", file=sys.stderr)
    title = "Chunks a second with MiniLM"
    bars = [bar for name, each in runs.items() for bar in bars_of(name, each)]
    publish(
        asked,
        "bench.pipeline",
        text="\n".join([setting, text_bars(title, bars), summary(runs)]),
        markdown="\n\n".join([f"{setting}.", f"![{title}](images/pipeline.svg)", summary(runs)]),
        figures={name: [run._asdict() for run in each] for name, each in runs.items()},
        pictures={"pipeline.svg": svg_bars(title, bars)},
    )


def readable_pdfs() -> list[Path]:
    """The real PDFs that have a text, by name."""
    paths = sorted(corpora("pdf").rglob("*.pdf"))
    return [path for path in paths if not path.parent.name.startswith(UNREADABLE)]


def measured(on: Servers, texts: Sequence[str] | None, *, workers: int) -> Run:
    """The texts, or else the PDFs, into a database of their own; then the embedder alone on the chunks."""
    database_url = on.new_database_url()
    urls = {"DATABASE_URL": database_url, "REDIS_URL": on.emptied_redis_url()}
    try:
        with service(workers=workers, settings=SETTINGS | urls) as stack:
            asyncio.run(imported(stack, WARM_UP))
            if texts is not None:
                documents = len(texts)
                items = [{"text": text, "title": f"Cranfield {n}"} for n, text in enumerate(texts)]
                done = asyncio.run(imported(stack, items))
            else:
                documents = COPIES * len(readable_pdfs())
                done = asyncio.run(imported_files(stack, readable_pdfs(), copies=COPIES))
        chunks = asyncio.run(all_chunks(database_url))
    finally:
        on.drop(database_url)
    return Run(documents, len(chunks), done.completed_s, alone_s(chunks, workers))


async def all_chunks(database_url: str) -> list[str]:
    connection = await asyncpg.connect(database_url)
    try:
        rows = await connection.fetch(
            "SELECT c.text FROM chunks AS c JOIN documents AS d ON d.id = c.document_id"
            " WHERE d.collection <> 'warm' ORDER BY c.id"
        )
        return [row["text"] for row in rows]
    finally:
        await connection.close()


def alone_s(chunks: Sequence[str], processes: int) -> float:
    """Seconds of as many processes, each on its share."""
    with ProcessPoolExecutor(processes) as pool:
        shares = [chunks[first::processes] for first in range(processes)]
        return max(pool.map(embed_alone, [".data/models"] * processes, shares))


def embed_alone(cache: str, texts: list[str]) -> float:
    """Seconds of one process with one thread, as a worker has it."""

    async def run() -> float:
        embedder = await MiniLMEmbedder.open(cache_dir=Path(cache), threads=1)
        begun = time.perf_counter()
        await embedder.embed(texts)
        seconds = time.perf_counter() - begun
        await embedder.close()
        return seconds

    return asyncio.run(run())


# --- Telling ------------------------------------------------------------------------------------------------


def bars_of(name: str, runs: Sequence[Run]) -> list[Bar]:
    return [
        Bar(f"{name}, Sluice", [run.per_s for run in runs], is_ours=True),
        Bar(f"{name}, the embedder alone", [run.alone_per_s for run in runs]),
    ]


def summary(runs: dict[str, list[Run]]) -> str:
    """Medians over the rounds, in Markdown."""
    head = ["", "documents", "chunks", "chunks/s (spread)", "the embedder alone", "Sluice / alone"]
    rows = []
    for name, each in runs.items():
        ours, alone = bars_of(name, each)
        share = statistics.median(map(truediv, ours.values, alone.values))
        told = [f"{figure(bar.median)} ({bar.spread})" for bar in (ours, alone)]
        rows.append([name, f"{each[0].documents:,}", f"{each[0].chunks:,}", *told, f"{share:.2f}"])
    return table(head, rows)


if __name__ == "__main__":
    main()
