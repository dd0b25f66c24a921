"""Documents of one line, embedded by `hash`, by one worker process; beside a plain actor that saves statuses.

The plain actor (bench/plain_actor.py) reads nothing, makes no chunk, holds no lease and may lose work.
What is counted is what a process finishes a second while all of it is queued.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from datetime import datetime
from pathlib import Path

import asyncpg
import httpx

from app.embedded.process import ServerProcess, reason_in
from bench import report
from bench.support import Servers, conditions, servers, service

SHORT, FULL = 1500, 10_000
ROUNDS = 3
THREADS = "8"
PATIENCE_S = 300
POLL_S = 0.1
OURS, PLAIN = "Sluice", "plain Dramatiq actor"


# --- Sluice -------------------------------------------------------------------------------------------------


def sluice(on: Servers, count: int) -> float:
    """Documents a second, from the moment when the last of them has been accepted."""
    urls = {"DATABASE_URL": on.new_database_url(), "REDIS_URL": on.emptied_redis_url()}
    settings = {"EMBEDDER": "hash", "LOG_LEVEL": "WARNING", **urls}
    try:
        with service(workers=1, settings=settings) as stack:
            accepted_at = asyncio.run(accept(stack.options.url, urls["DATABASE_URL"], count))
            return asyncio.run(finished_per_s(urls["DATABASE_URL"], "documents", count, since=accepted_at))
    finally:
        on.drop(urls["DATABASE_URL"])


async def accept(url: str, database_url: str, count: int) -> datetime:
    """Send all in one batch; when that was answered, by the database's clock."""
    body = "".join(json.dumps({"text": f"Gate {number} is open."}) + "\n" for number in range(count))
    async with httpx.AsyncClient(base_url=url, timeout=300, trust_env=False) as client:
        headers = {"content-type": "application/x-ndjson"}
        answer = await client.post("/ingest/batch", content=body.encode(), headers=headers)
        answer.raise_for_status()
    return await database_now(database_url)


# --- The plain actor ----------------------------------------------------------------------------------------


def plain(on: Servers, count: int) -> float:
    """Jobs a second; all are queued when the worker starts."""
    urls = {"DATABASE_URL": on.new_database_url(), "REDIS_URL": on.emptied_redis_url()}
    variables = {**os.environ, **urls}
    try:
        subprocess.run([sys.executable, "-m", "bench.plain_actor", str(count)], env=variables, check=True)
        with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
            worker = ServerProcess(
                [
                    sys.executable,
                    "-m",
                    "dramatiq",
                    "bench.plain_actor",
                    "--processes",
                    "1",
                    "--threads",
                    THREADS,
                ],
                name=PLAIN,
                log_path=Path(folder) / "worker.log",
                last_wish=signal.SIGHUP,
                environment=variables,
                has_children=True,
            )
            try:
                return asyncio.run(finished_per_s(urls["DATABASE_URL"], "job", count, worker=worker))
            finally:
                worker.stop((signal.SIGTERM, 5))
    finally:
        on.drop(urls["DATABASE_URL"])


# --- What both are measured by ------------------------------------------------------------------------------


async def database_now(database_url: str) -> datetime:
    connection = await asyncpg.connect(database_url)
    try:
        now: datetime = await connection.fetchval("SELECT clock_timestamp()")
        return now
    finally:
        await connection.close()


async def finished_per_s(
    database_url: str,
    table: str,
    count: int,
    *,
    since: datetime | None = None,
    worker: ServerProcess | None = None,
) -> float:
    """Wait until all rows are COMPLETED; how many were a second, since a moment or since the first."""
    give_up_at = time.monotonic() + PATIENCE_S
    connection = await asyncpg.connect(database_url)
    try:
        done = f"SELECT completed_at FROM {table} WHERE status = 'COMPLETED' ORDER BY completed_at"
        while len(times := [row["completed_at"] for row in await connection.fetch(done)]) < count:
            if worker is not None and worker.exit_code is not None:
                sys.exit(f"{worker.name}: {reason_in(worker.log_path)}")
            if time.monotonic() > give_up_at:
                sys.exit(f"After {PATIENCE_S} s, {len(times)} of {count} are COMPLETED.")
            await asyncio.sleep(POLL_S)
    finally:
        await connection.close()
    begun = since or times[0]
    later = [at for at in times if at > begun]
    return len(later) / (later[-1] - begun).total_seconds()


def compare(on: Servers, count: int) -> list[report.Bar]:
    """Both in turn, every other round the other way round."""
    sides = {OURS: sluice, PLAIN: plain}
    found: dict[str, list[float]] = defaultdict(list)
    for number in range(ROUNDS):
        for label in list(sides)[:: 1 if number % 2 == 0 else -1]:
            found[label].append(sides[label](on, count))
            print(f"round {number + 1} of {ROUNDS}: {label}: {found[label][-1]:.0f}/s", file=sys.stderr)
    return [report.Bar(label, found[label], label == OURS) for label in sides]


def main() -> None:
    asked = report.parser(__doc__.splitlines()[0]).parse_args()
    count = FULL if asked.full else SHORT
    before = conditions()
    with servers() as on:
        server_versions = on.versions()
        bars = compare(on, count)
    ours, theirs = bars
    head = (
        f"{count:,} documents of one line, `hash`, one worker process with {THREADS} threads,"
        f" {ROUNDS} alternating rounds; {before}; {server_versions}."
    )
    ratio = f"Sluice is {ours.median / theirs.median:.2f} times as fast."
    title = "documents/s of one worker process that is never idle"
    rows = [[bar.label, f"{report.figure(bar.median)} ({bar.spread})"] for bar in bars]
    report.publish(
        asked,
        "bench.job_overhead",
        text=f"{head}\n\n{report.text_bars(title, bars)}\n\n{ratio}",
        markdown="\n\n".join(
            [
                head,
                "![Tiny documents a second of one worker process](images/job_overhead.svg)",
                report.table(["", "documents/s (spread)"], rows),
                ratio,
            ]
        ),
        figures={"head": head, "runs": {bar.label: list(bar.values) for bar in bars}},
        pictures={"job_overhead.svg": report.svg_bars(title, bars)},
    )


if __name__ == "__main__":
    main()
