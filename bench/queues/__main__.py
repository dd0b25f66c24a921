"""Queues alone: jobs a second that do nothing, and how soon an idle worker begins one; one process each."""

from __future__ import annotations

import os
import random
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from app.embedded.process import ServerProcess, reason_in
from bench import report
from bench.peers import environment
from bench.support import Servers, conditions, servers

ROOT = Path(__file__).parents[2]
ROUNDS = 3
#: How long a worker is left in peace before a job: longer than any of these polls.
IDLE_S = (0.7, 1.3)
PATIENCE_S = 60
LANES = "8"


class Side(NamedTuple):
    """A queue and its worker."""

    label: str
    module: str
    worker: list[str]
    jobs: int  # Of the short run: some seconds' worth.
    is_ours: bool = False
    keeps: str = "Redis"


def dramatiq(module: str) -> list[str]:
    return ["dramatiq", module, "--processes", "1", "--threads", LANES]


SIDES = [
    Side("Sluice", "with_sluice", dramatiq("bench.queues.with_sluice"), 3000, is_ours=True),
    Side("Dramatiq", "with_dramatiq", dramatiq("bench.queues.with_dramatiq"), 3000),
    Side(
        "Celery",
        "with_celery",
        [
            *("celery", "-A", "bench.queues.with_celery", "worker"),
            *("--pool", "threads", "--concurrency", LANES, "--loglevel", "WARNING"),
        ],
        2000,
    ),
    Side("RQ", "with_rq", ["rq.cli", "worker", "--quiet"], 60),
    Side("RQ, SimpleWorker", "with_rq", ["rq.cli", "worker", "--quiet", "-w", "rq.SimpleWorker"], 300),
    Side(
        "taskiq",
        "with_taskiq",
        [
            *("taskiq", "worker", "bench.queues.with_taskiq:broker"),
            *("--workers", "1", "--max-async-tasks", LANES, "--log-level", "WARNING"),
        ],
        2000,
    ),
    Side(
        "Procrastinate",
        "with_procrastinate",
        ["procrastinate", "--app", "bench.queues.with_procrastinate.app", "worker", "--concurrency", LANES],
        1000,
        keeps="PostgreSQL",
    ),
]


class Run(NamedTuple):
    """One side, once."""

    jobs_per_s: float
    enqueued_per_s: float
    latencies_ms: list[float]


class Stamps:
    """The file that jobs write the times of their starts to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(b"")
        path.chmod(0o666)

    def wait_for(self, count: int, *, worker: ServerProcess) -> list[float]:
        """When each began; as many as these, or more."""
        give_up_at = time.monotonic() + PATIENCE_S
        while len(data := self.path.read_bytes()) < 8 * count:
            if worker.exit_code is not None or time.monotonic() > give_up_at:
                begun = f"{len(data) // 8} of {count} jobs have begun"
                sys.exit(f"{worker.name}: {begun}. {reason_in(worker.log_path)}")
            time.sleep(0.005)
        return sorted(at for (at,) in struct.iter_unpack("<d", data))


class Producer:
    """A process that enqueues."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def times(self) -> tuple[float, float]:
        """When it began with what it was last asked for, and when it was done."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            sys.exit("The producer has ended.")
        begun, done = map(float, line.split())
        return begun, done

    def enqueue(self) -> float:
        """One more; when it began with it."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self.times()[0]


def measure(side: Side, on: Servers, folder: Path, *, jobs: int, idle_jobs: int) -> Run:
    """Enqueue, start a worker, watch it; then one job at a time."""
    stamps = Stamps(folder / "stamps")
    database_url = on.new_database_url()
    python = sys.executable if side.is_ours else str(environment("queues"))
    variables = {
        **os.environ,
        "REDIS_URL": on.emptied_redis_url(),
        "RQ_REDIS_URL": on.redis_url,
        "DATABASE_URL": database_url,
        "STAMPS": str(stamps.path),
        "PYTHONPATH": str(ROOT),
    }
    try:
        with producing(python, side, jobs, variables) as producer:
            begun, done = producer.times()
            with working(python, side, variables, folder) as worker:
                wait = partial(stamps.wait_for, worker=worker)
                starts = wait(jobs)
                latencies = [one_latency_ms(producer, wait, jobs + n) for n in range(1, idle_jobs + 1)]
        return Run((jobs - 1) / (starts[jobs - 1] - starts[0]), jobs / (done - begun), latencies)
    finally:
        on.drop(database_url)


def one_latency_ms(producer: Producer, wait: Callable[[int], list[float]], count: int) -> float:
    """Of a job that an idle worker gets, from before its sending to its start."""
    time.sleep(random.uniform(*IDLE_S))
    sent = producer.enqueue()
    return (wait(count)[-1] - sent) * 1000


@contextmanager
def producing(python: str, side: Side, jobs: int, variables: dict[str, str]) -> Iterator[Producer]:
    command = [python, "-m", "bench.queues.producer", f"bench.queues.{side.module}", str(jobs)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=variables, cwd=ROOT
    ) as process:
        try:
            yield Producer(process)
        finally:
            process.terminate()


@contextmanager
def working(python: str, side: Side, variables: dict[str, str], folder: Path) -> Iterator[ServerProcess]:
    worker = ServerProcess(
        [python, "-m", *side.worker],
        name=side.label,
        log_path=folder / f"{side.module}.log",
        last_wish=signal.SIGHUP,  # A guard stands above it, which kills them all then.
        environment=variables,
        has_children=True,
    )
    try:
        yield worker
    finally:
        worker.stop((signal.SIGTERM, 5))


def compare(on: Servers, folder: Path, *, times: int, idle_jobs: int) -> dict[str, list[Run]]:
    """All sides in turn, every other round the other way round."""
    runs: dict[str, list[Run]] = defaultdict(list)
    for number in range(ROUNDS):
        for side in SIDES[:: 1 if number % 2 == 0 else -1]:
            run = measure(side, on, folder, jobs=side.jobs * times, idle_jobs=idle_jobs)
            runs[side.label].append(run)
            said = f"{run.jobs_per_s:.0f} jobs/s, {statistics.median(run.latencies_ms):.0f} ms"
            print(f"round {number + 1} of {ROUNDS}: {side.label}: {said}", file=sys.stderr)
    return {side.label: runs[side.label] for side in SIDES}


def library_versions() -> str:
    """Of the others."""
    asked = ["celery", "rq", "taskiq", "taskiq-redis", "procrastinate", "dramatiq"]
    code = "import sys; from importlib.metadata import version as v; print(*map(v, sys.argv[1:]))"
    said = subprocess.run(
        [environment("queues"), "-c", code, *asked], stdout=subprocess.PIPE, text=True, check=True
    )
    return ", ".join(f"{name} {version}" for name, version in zip(asked, said.stdout.split(), strict=True))


def section(
    head: str, throughput: list[report.Bar], latency: list[report.Bar], enqueued: list[report.Bar]
) -> str:
    """For docs/performance.md."""
    rows = [
        [
            side.label,
            f"{report.figure(jobs.median)} ({jobs.spread})",
            f"{report.figure(wait.median)} ({wait.spread})",
            report.figure(sent.median),
            side.keeps,
        ]
        for side, jobs, wait, sent in zip(SIDES, throughput, latency, enqueued, strict=True)
    ]
    names = ["jobs/s (spread)", "idle, ms to the start (spread)", "enqueued/s", "jobs are kept in"]
    pictures = "![No-op jobs a second](images/queues.svg)\n\n![Idle latency](images/queues_idle.svg)"
    return "\n\n".join([head, pictures, report.table(["", *names], rows)])


def main() -> None:
    asked = report.parser(__doc__).parse_args()
    before = conditions()
    with servers() as on, tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        server_versions = on.versions()
        runs = compare(on, Path(folder), times=3 if asked.full else 1, idle_jobs=20 if asked.full else 4)
    head = (
        f"One worker process each, with {LANES} threads or tasks at once (RQ: one job at a time, by default"
        f" each in a fork of its own); {ROUNDS} alternating rounds; {before};"
        f" {server_versions}, {library_versions()}."
    )
    throughput, latency, enqueued = (
        [report.Bar(side.label, values(runs[side.label]), side.is_ours) for side in SIDES]
        for values in (
            lambda each: [run.jobs_per_s for run in each],
            lambda each: [ms for run in each for ms in run.latencies_ms],
            lambda each: [run.enqueued_per_s for run in each],
        )
    )
    titles = (
        "no-op jobs/s of one worker process",
        "ms from enqueue to start, idle worker (shorter is better)",
    )
    report.publish(
        asked,
        "bench.queues",
        text="\n\n".join(
            [head, report.text_bars(titles[0], throughput), report.text_bars(titles[1], latency)]
        ),
        markdown=section(head, throughput, latency, enqueued),
        figures={
            "head": head,
            "runs": {name: [run._asdict() for run in each] for name, each in runs.items()},
        },
        pictures={
            "queues.svg": report.svg_bars(titles[0], throughput),
            "queues_idle.svg": report.svg_bars(titles[1], latency),
        },
    )


if __name__ == "__main__":
    main()
