"""How long a small text takes through a parser child, beside parsing it in the process itself.

And through a new child each time: what it costs to fork one, to lock it in, and to clear the old one away.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from app.core.logging import configure_logging
from app.parsing import registry
from app.parsing.sandbox import ParserPool
from bench.support import conditions

ROUNDS = 1000


async def through_children(path: Path, *, documents_per_child: int = ROUNDS + 1) -> list[float]:
    seconds = []
    async with ParserPool(processes=1, documents_per_child=documents_per_child) as pool:
        await pool.parse(path)
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            await pool.parse(path)
            seconds.append(time.perf_counter() - begun)
    return seconds


def in_process(path: Path) -> list[float]:
    seconds = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        with path.open("rb") as file:
            registry.parse(file, name=None, max_text_chars=1_000_000)
        seconds.append(time.perf_counter() - begun)
    return seconds


def told(seconds: list[float]) -> str:
    middle, late = (sorted(seconds)[len(seconds) * percent // 100] * 1000 for percent in (50, 95))
    return f"p50 {middle:.2f} ms, p95 {late:.2f} ms"


def main() -> None:
    configure_logging("WARNING", "console")
    print(f"1 KB of text, {ROUNDS} times; {conditions()}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "abstract.txt"
        path.write_text("an abstract of some length " * 40)
        print(f"through a child   {told(asyncio.run(through_children(path)))}")
        print(f"a new one each   {told(asyncio.run(through_children(path, documents_per_child=1)))}")
        print(f"in the process    {told(in_process(path))}")


if __name__ == "__main__":
    main()
