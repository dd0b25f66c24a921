"""Mixed documents at a steady rate, for long; and how the memory of each process grows.

.venv/bin/python -m bench.soak [--minutes 30] [--per-second 2] [--embedder hash]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from bench.processes import POSTGRES, by_role
from bench.support import conditions, service
from tests.chaos.workload import workload

SAMPLE_EVERY_S = 10
#: Caches, pools and allocators fill up first: growth is told from here on.
WARM_AFTER = 0.2


@dataclass
class Memory:
    """What one process held over time."""

    seconds: list[float] = field(default_factory=list)
    mebibytes: list[float] = field(default_factory=list)

    def add(self, second: float, mebibytes: float) -> None:
        self.seconds.append(second)
        self.mebibytes.append(mebibytes)

    def growth_per_hour(self, until_s: float) -> float | None:
        """MiB/h by a line through all that comes after the warm-up; None of a process that came later."""
        points = [
            point
            for point in zip(self.seconds, self.mebibytes, strict=True)
            if point[0] >= WARM_AFTER * until_s
        ]
        if len(points) < 3 or points[0][0] > 2 * WARM_AFTER * until_s:
            return None
        return 3600 * statistics.linear_regression(*zip(*points, strict=True)).slope


def private_mebibytes(pid: int) -> float:
    """Memory that is this process' share: what it has alone, and its part of what it shares."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0)


class Watch:
    """Samples the memory of every process of the service."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.memory: dict[tuple[str, int], Memory] = defaultdict(Memory)

    async def run(self) -> None:
        while True:
            await asyncio.to_thread(self.sample)
            await asyncio.sleep(SAMPLE_EVERY_S)

    def sample(self) -> None:
        second = time.monotonic() - self.began
        together = 0.0
        for pid, name in by_role().items():
            mebibytes = private_mebibytes(pid)
            if name == POSTGRES:
                together += mebibytes
            else:
                self.memory[name, pid].add(second, mebibytes)
        self.memory[POSTGRES, 0].add(second, together)

    def table(self) -> str:
        until_s = time.monotonic() - self.began
        lines = [f"  {'process':28}{'at first':>10}{'at last':>10}{'at most':>10}{'MiB/h':>10}"]
        replaced: Counter[str] = Counter()
        for (name, _), memory in sorted(self.memory.items()):
            growth = memory.growth_per_hour(until_s)
            if memory.seconds[-1] < until_s - 3 * SAMPLE_EVERY_S:
                replaced[name] += 1  # It has ended: parser children are replaced after 200 documents.
                continue
            lines.append(
                f"  {name:28}{memory.mebibytes[0]:10.1f}{memory.mebibytes[-1]:10.1f}"
                f"{max(memory.mebibytes):10.1f}{'-' if growth is None else f'{growth:+.1f}':>10}"
            )
        return "\n".join([*lines, *(f"  {name}: {count} have ended" for name, count in replaced.items())])


async def post_all(url: str, count: int, per_second: float) -> Counter[str]:
    """At the rate that was asked for, whatever the answers take; answers by status."""
    answers: Counter[str] = Counter()
    began = time.monotonic()
    async with (
        httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as client,
        asyncio.TaskGroup() as under_way,
    ):

        async def post(request: dict) -> None:
            answers[str((await client.post("/ingest", **request)).status_code)] += 1

        posts = (post for item in workload(count) for post in item.posts)
        for number, one in enumerate(posts):
            await asyncio.sleep(max(0, began + number / per_second - time.monotonic()))
            under_way.create_task(post(one.request()))
            if number + 1 >= count:
                break
    return answers


async def statuses(url: str) -> Counter[str]:
    """Of all documents, once the last one is final."""
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:
        while True:
            found: Counter[str] = Counter()
            for status in ("PENDING", "PROCESSING", "COMPLETED", "FAILED"):
                cursor: str | None = ""
                while cursor is not None:
                    asked = {"status": status, "limit": 500} | ({"cursor": cursor} if cursor else {})
                    page = (await client.get("/documents", params=asked)).json()
                    found[status] += len(page["documents"])
                    cursor = page["next_cursor"]
            if not found["PENDING"] + found["PROCESSING"]:
                return found
            await asyncio.sleep(1)


async def soak(url: str, count: int, per_second: float) -> None:
    watch = Watch()
    watching = asyncio.create_task(watch.run())
    answers = await post_all(url, count, per_second)
    found = await statuses(url)
    watching.cancel()
    watch.sample()
    print(f"  answers: {dict(answers)}; documents: {dict(found)}")
    print(watch.table())


def main(minutes: float, per_second: float) -> None:
    count = round(minutes * 60 * per_second)
    print(f"{conditions()}; {count:,} requests at {per_second:g}/s, EMBEDDER={os.environ['EMBEDDER']}")
    with service(workers=2) as stack:
        asyncio.run(soak(stack.options.url, count, per_second))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--per-second", type=float, default=2)
    parser.add_argument("--embedder", default="minilm")
    asked = parser.parse_args()
    os.environ["EMBEDDER"] = asked.embedder
    main(asked.minutes, asked.per_second)
