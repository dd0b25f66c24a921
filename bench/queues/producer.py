"""Enqueues on command: a module and the jobs' number by arguments; then one more for every line read.

Each time it prints when it began and when it was done.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
import time
from typing import Any


async def run(queue: Any, count: int) -> None:
    await queue.prepare()
    await enqueue(queue, count)
    while await asyncio.to_thread(sys.stdin.readline):
        await enqueue(queue, 1)


async def enqueue(queue: Any, count: int) -> None:
    begun = time.time()
    for _ in range(count):
        await queue.enqueue()
    print(begun, time.time(), flush=True)


if __name__ == "__main__":
    asyncio.run(run(importlib.import_module(sys.argv[1]), int(sys.argv[2])))
