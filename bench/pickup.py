"""How soon an idle worker begins, beside Dramatiq's own broker; its cost; and from POST to searchable."""

from __future__ import annotations

import asyncio
import importlib
import os
import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType

import asyncpg
import redis

from app.cli.stack import Stack
from app.embedded import EmbeddedValkey
from bench.load import json_post, load, percentile
from bench.processes import below
from bench.report import figure, parser, publish, table
from bench.support import conditions, service

BROKERS = ("ours", "stock")

UNFINISHED = "SELECT EXISTS (SELECT FROM documents WHERE status <> 'COMPLETED')"


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--messages", type=int, default=60)
    arguments.add_argument("--documents", type=int, default=60)
    arguments.add_argument("--idle-s", type=float, default=20)
    asked = arguments.parse_args()
    setting = f"one worker process that has nothing else to do; {conditions()}"
    waits = pickups(asked.messages)
    os.environ["EMBEDDER"] = "hash"
    with service(workers=1) as stack:
        found = asyncio.run(searchable(stack, asked.documents))
        idle = idle_cpu(asked.idle_s)
    rows = [
        ["from a message to its actor, Sluice", *_percentiles(waits["ours"])],
        ["the same, Dramatiq's own broker", *_percentiles(waits["stock"])],
        ["from `POST /ingest` to searchable", *_percentiles(found)],
    ]
    told = table(["ms", "p50", "p90", "p99"], rows)
    cost = f"Waiting takes {idle:.2%} of a core, a worker's master and parsers included ({asked.idle_s:g} s)."
    publish(
        asked,
        "bench.pickup",
        text=f"{setting}\n{told}\n{cost}",
        markdown=f"{setting[0].upper()}{setting[1:]}.\n\n{told}\n\n{cost}",
        figures={"waits_ms": waits, "searchable_ms": found, "idle_core": idle},
        pictures={},
    )


def _percentiles(waits_ms: list[float]) -> list[str]:
    return [figure(percentile(waits_ms, percent)) for percent in (50, 90, 99)]


# --- from a message to its actor ----------------------------------------------------------------------------


def pickups(messages: int) -> dict[str, list[float]]:
    """Milliseconds from each `send` to the actor's first line, by broker; workers have been idle before."""
    waits: dict[str, list[float]] = {name: [] for name in BROKERS}
    with ExitStack() as opened:
        folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="sluice-bench-"))
        valkey = opened.enter_context(EmbeddedValkey(Path(folder)))
        os.environ["REDIS_URL"] = valkey.url
        client = opened.enter_context(redis.Redis.from_url(valkey.url))
        actors = {name: _actor(name) for name in BROKERS}
        for name in BROKERS:
            opened.enter_context(_worker(name))
            _wait_ms(actors[name], client)
        for _ in range(messages):
            for name in random.sample(BROKERS, len(BROKERS)):
                # Idle for a while, and at no fixed moment of anybody's round.
                time.sleep(random.uniform(0.3, 1.3))
                waits[name].append(_wait_ms(actors[name], client))
    return waits


def _actor(broker: str) -> ModuleType:
    os.environ["BENCH_BROKER"] = broker
    sys.modules.pop("bench.pickup_worker", None)
    return importlib.import_module("bench.pickup_worker")


@contextmanager
def _worker(broker: str) -> Iterator[None]:
    command = [sys.executable, "-m", "dramatiq", "bench.pickup_worker", "--processes", "1", "--threads", "8"]
    process = subprocess.Popen(command, env={**os.environ, "BENCH_BROKER": broker}, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _wait_ms(module: ModuleType, client: redis.Redis) -> float:
    answer_to = str(uuid.uuid4())
    module.note.send(time.time(), answer_to)
    answer = client.blpop([answer_to], timeout=60)
    if answer is None:
        sys.exit("no worker took the message")
    return float(answer[1])


# --- the whole service --------------------------------------------------------------------------------------


async def searchable(stack: Stack, documents: int) -> list[float]:
    """Milliseconds from a POST until the document's chunks are committed; one at a time."""
    connection = await asyncpg.connect(stack.settings.DATABASE_URL)
    waits = []
    try:
        for number in range(documents + 5):
            text = f"The gate was opened {random.getrandbits(64)} times before the water rose. " * 8
            await asyncio.sleep(random.uniform(0.3, 1.3))
            begun = time.perf_counter()
            run = await load(stack.options.port, [json_post("/ingest", {"text": text})], connections=1)
            if run.statuses != {201: 1}:
                sys.exit(f"POST /ingest was answered {run.statuses}")
            while await connection.fetchval(
                "SELECT EXISTS (SELECT FROM documents WHERE status <> 'COMPLETED')"
            ):
                await asyncio.sleep(0.002)
            if number >= 5:  # The first ones start what is started on first use.
                waits.append((time.perf_counter() - begun) * 1000)
    finally:
        await connection.close()
    return waits


def idle_cpu(seconds: float) -> float:
    """The share of a core that the worker's processes take while there is nothing to do."""
    master = next(pid for pid in below(os.getpid()) if b"app.jobs.ingestion_job" in _command(pid))
    pids = [master, *below(master)]
    time.sleep(2)  # The last document's housekeeping.
    before = sum(map(_cpu_seconds, pids))
    time.sleep(seconds)
    return (sum(map(_cpu_seconds, pids)) - before) / seconds


def _command(pid: int) -> bytes:
    """Nothing of a process that has just ended, as PostgreSQL's do all the time."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _cpu_seconds(pid: int) -> float:
    """Of its threads that live; `stat` would count in hundredths."""
    return (
        sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9
    )


if __name__ == "__main__":
    main()
