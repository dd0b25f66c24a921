"""Imports over HTTP, looked at so rarely that it costs them nothing; their end is what the last row says."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import asyncpg
import httpx

from app.cli.stack import Stack

#: Between two looks. Half of the time that is left, by the pace so far: near the end they come often.
LEAST_S, MOST_S = 0.02, 1.0

#: What one request may have.
BATCH = 10_000


class Imported(NamedTuple):
    """Seconds from the first byte that was sent."""

    accepted_s: float  # Until all have their 201.
    completed_s: float  # Until the last was COMPLETED, by the clock of the database, which is this machine's.


async def imported(stack: Stack, items: Sequence[Mapping[str, object]]) -> Imported:
    """Post documents that are new to the service, and wait for the last one.

    Raises:
        SystemExit: One of them is FAILED.
    """
    headers = {"content-type": "application/x-ndjson"}
    async with _client(stack) as client:
        before = await completed(client)
        begun = time.time()
        for first in range(0, len(items), BATCH):
            lines = [json.dumps(item) + "\n" for item in items[first : first + BATCH]]
            answer = await client.post("/ingest/batch", content="".join(lines).encode(), headers=headers)
            answer.raise_for_status()
        return await _watched(stack, client, before + len(items), begun)


async def imported_files(stack: Stack, files: Sequence[Path], *, copies: int) -> Imported:
    """The same for files, so many times: each copy into a collection of its own."""
    async with _client(stack) as client:
        before = await completed(client)
        begun = time.time()
        for copy in range(copies):
            parts = [("file", (path.name, path.read_bytes())) for path in files]
            answer = await client.post("/ingest/batch", data={"collection": f"copy{copy}"}, files=parts)
            answer.raise_for_status()
        return await _watched(stack, client, before + copies * len(files), begun)


async def completed(client: httpx.AsyncClient) -> int:
    """How many of all documents are COMPLETED."""
    documents: dict[str, int] = (await client.get("/stats")).json()["documents"]
    if documents.get("FAILED"):
        sys.exit(f"{documents['FAILED']} of the documents are FAILED")
    return documents.get("COMPLETED", 0)


def _client(stack: Stack) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=stack.options.url, timeout=600, trust_env=False)


async def _watched(stack: Stack, client: httpx.AsyncClient, in_all: int, begun: float) -> Imported:
    accepted_s = time.time() - begun
    while (left := in_all - await completed(client)) > 0:
        left_s = left * (time.time() - begun) / max(in_all - left, 1)
        await asyncio.sleep(min(max(left_s / 2, LEAST_S), MOST_S))
    return Imported(accepted_s, await _last_completed(stack.settings.DATABASE_URL) - begun)


async def _last_completed(database_url: str) -> float:
    # `/stats` is up to a second old, which is a tenth of many an import.
    connection = await asyncpg.connect(database_url)
    try:
        last: float = await connection.fetchval(
            "SELECT extract(epoch FROM max(completed_at))::float8 FROM documents"
        )
        return last
    finally:
        await connection.close()
