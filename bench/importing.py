"""An import over HTTP, timed by looks that are so rare that they cost it nothing."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import httpx

#: Between two looks. Half of the time that is left, by the pace so far: near the end they come often.
LEAST_S, MOST_S = 0.02, 1.0


class Imported(NamedTuple):
    """Seconds from the first byte that was sent."""

    accepted_s: float  # Until all have their 201.
    completed_s: float  # Until all are COMPLETED.


async def imported(
    url: str, items: Sequence[Mapping[str, object]], *, in_batches_of: int = 100_000
) -> Imported:
    """Post documents that are new to the service, and wait for the last one.

    Raises:
        SystemExit: One of them is FAILED.
    """
    headers = {"content-type": "application/x-ndjson"}
    async with httpx.AsyncClient(base_url=url, timeout=600, trust_env=False) as client:
        before = await completed(client)
        begun = time.perf_counter()
        for first in range(0, len(items), in_batches_of):
            lines = [json.dumps(item) + "\n" for item in items[first : first + in_batches_of]]
            answer = await client.post("/ingest/batch", content="".join(lines).encode(), headers=headers)
            answer.raise_for_status()
        accepted_s = time.perf_counter() - begun
        while (done := await completed(client) - before) < len(items):
            left_s = (len(items) - done) * (time.perf_counter() - begun) / max(done, 1)
            await asyncio.sleep(min(max(left_s / 2, LEAST_S), MOST_S))
        return Imported(accepted_s, time.perf_counter() - begun)


async def completed(client: httpx.AsyncClient) -> int:
    """How many of all documents are COMPLETED."""
    documents: dict[str, int] = (await client.get("/stats")).json()["documents"]
    if documents.get("FAILED"):
        sys.exit(f"{documents['FAILED']} of the documents are FAILED")
    return documents.get("COMPLETED", 0)
