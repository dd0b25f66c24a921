"""Accepting small documents: the API beside the least that could be done, and beside the common pattern.

Each side is one process under the same uvicorn options, with a database of its own on one PostgreSQL that
syncs to disk; the sides take turns.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import asyncpg

from app.core.config import Settings
from app.core.database import migrate
from app.embedded import EmbeddedPostgres, EmbeddedValkey, free_port
from bench.load import Load, json_post, load
from bench.report import Bar, figure, parser, publish, table, text_bars
from bench.support import conditions

SIDES = {"ours": "app.main:app", "floor": "bench.accept_floor:app", "plain": "bench.accept_plain:app"}
TABLES = {"ours": "documents", "floor": "floor", "plain": "plain"}
NAMES = {
    "ours": "Sluice",
    "floor": "the floor: one INSERT and its commit",
    "plain": "the usual pattern: Tortoise's `create`, then `send()`",
}
CONNECTIONS = 16
DOCUMENT_BYTES = 2048
WARM_UP = 300


class Side(NamedTuple):
    """A server that answers, and the database it writes."""

    name: str
    port: int
    database_url: str

    async def rows(self) -> int:
        connection = await asyncpg.connect(self.database_url)
        try:
            rows: int = await connection.fetchval(f"SELECT count(*) FROM {TABLES[self.name]}")
            return rows
        finally:
            await connection.close()


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=9)
    arguments.add_argument("--requests", type=int, default=1500, help="of each side in each round")
    asked = arguments.parse_args()
    setting = (
        f"{DOCUMENT_BYTES:,} bytes of JSON, {CONNECTIONS} connections, one API process each, fsync on;"
        f" {conditions()}"
    )
    with served() as sides:
        runs = asyncio.run(measured(sides, rounds=asked.rounds, requests=asked.requests))
    publish(
        asked,
        "bench.accept",
        text="\n".join([setting, text_bars("accepted documents/s", bars(runs)), compared(runs)]),
        markdown="\n\n".join([f"{setting}.", summary(runs), compared(runs)]),
        figures={name: [run._asdict() for run in each] for name, each in runs.items()},
        pictures={},
    )


@contextmanager
def served() -> Iterator[list[Side]]:
    """All sides, ready."""
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="sluice-bench-")))
        postgres = opened.enter_context(EmbeddedPostgres(folder / "postgres"))
        valkey = opened.enter_context(EmbeddedValkey(folder / "valkey"))
        sides = []
        for name, application in SIDES.items():
            database_url = asyncio.run(_own_database(postgres.url, name))
            environment = {
                "DATABASE_URL": database_url,
                "REDIS_URL": valkey.url,
                "STORAGE_URL": f"file://{folder / 'content'}",
                "EMBEDDER": "hash",
            }
            if name == "ours":
                asyncio.run(migrate(Settings(**environment)))  # type: ignore[arg-type]
            port = opened.enter_context(uvicorn(application, environment))
            sides.append(Side(name, port, database_url))
        yield sides


async def _own_database(url: str, name: str) -> str:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"CREATE DATABASE bench_{name}")
    finally:
        await connection.close()
    before, _, after = url.rpartition("/")
    return f"{before}/bench_{name}{after[after.find('?') :] if '?' in after else ''}"


@contextmanager
def uvicorn(application: str, environment: dict[str, str]) -> Iterator[int]:
    """The application, with the options of `sluice up`; its port."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", application, "--port", str(port), "--no-access-log"]
    process = subprocess.Popen(
        [*command, "--http", "h11", "--log-level", "warning"], env={**os.environ, **environment}
    )
    try:
        asyncio.run(_answering(port))
        yield port
    finally:
        process.terminate()
        process.wait()


async def _answering(port: int) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


async def measured(sides: list[Side], *, rounds: int, requests: int) -> dict[str, list[Load]]:
    """All rounds of each side; every answer has to be a 201 that is a row."""
    runs: dict[str, list[Load]] = {side.name: [] for side in sides}
    for side in sides:
        await load(side.port, documents(WARM_UP), connections=CONNECTIONS)
    for number in range(rounds):
        for side in random.sample(sides, len(sides)):
            before = await side.rows()
            run = await load(side.port, documents(requests), connections=CONNECTIONS)
            if run.statuses != {201: requests} or await side.rows() - before != requests:
                sys.exit(f"{side.name}: {run.statuses}, {await side.rows() - before} new rows")
            runs[side.name].append(run)
        print(f"round {number + 1}: " + "  ".join(f"{k} {v[-1].per_s:.0f}/s" for k, v in runs.items()))
    return runs


def documents(count: int) -> list[bytes]:
    """Requests with texts that were never there before."""
    words = [f"{random.getrandbits(40):x}" for _ in range(500)]
    return [json_post("/ingest", {"title": "Gate log", "text": _text(words)}) for _ in range(count)]


def _text(words: list[str]) -> str:
    return " ".join([f"{random.getrandbits(128):x}", *random.choices(words, k=250)])[:DOCUMENT_BYTES]


def bars(runs: dict[str, list[Load]]) -> list[Bar]:
    return [Bar(name, [run.per_s for run in each], name == "ours") for name, each in runs.items()]


def summary(runs: dict[str, list[Load]]) -> str:
    """Medians over the rounds, in Markdown."""
    rows = [
        [
            NAMES[bar.label],
            f"{figure(bar.median)} ({bar.spread})",
            *(
                figure(statistics.median(run.percentile_ms(percent) for run in runs[bar.label]))
                for percent in (50, 99)
            ),
        ]
        for bar in bars(runs)
    ]
    return table(["", "documents/s (spread)", "p50 ms", "p99 ms"], rows)


def compared(runs: dict[str, list[Load]]) -> str:
    """Ratios within each round, as the machine's speed drifts."""
    floor, plain = (statistics.median(ratios(runs, other)) for other in ("floor", "plain"))
    return (
        f"Round by round, Sluice takes {floor:.2f} times what the floor takes, {plain:.2f} times the pattern."
    )


def ratios(runs: dict[str, list[Load]], other: str) -> list[float]:
    """Our rate by the other's, round by round."""
    return [ours.per_s / theirs.per_s for ours, theirs in zip(runs["ours"], runs[other], strict=True)]


if __name__ == "__main__":
    main()
