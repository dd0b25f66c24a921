"""Counts and sizes of everything, made so that they stay cheap with very many documents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from app.models.document_status import DocumentStatus
from app.models.sql import fetch

#: How far back the throughput is told, the present minute included.
MINUTES = 60


@dataclass(frozen=True, slots=True)
class Queue:
    """What waits for a worker."""

    waiting: int  # All that is PENDING.
    due: int  # What could be begun at once.
    oldest_waiting_s: float | None  # How long the one that is due longest has been; None when none is.


@dataclass(frozen=True, slots=True)
class Minute:
    """What ended in a minute."""

    minute: datetime
    completed: int
    failed: int


@dataclass(frozen=True, slots=True)
class Storage:
    """What takes space."""

    database_bytes: int  # All of it, indexes too.
    content_bytes: int  # Documents as they were sent.
    chunks: int


async def is_writable() -> bool:
    """Whether the database takes anything: it answers, and is neither a standby nor set to read only."""
    (row,) = await fetch("SHOW transaction_read_only")
    return bool(row["transaction_read_only"] == "off")


async def by_status() -> Mapping[DocumentStatus, int]:
    """How many documents are in each status, without those that go with their collection."""
    # The first part reads an index and nothing else; a condition on the collection would make it read the
    # table. So what is being deleted, which is mostly nothing, is counted by itself and taken off.
    rows = await fetch(
        """
        SELECT status, sum(documents)::bigint AS documents FROM (
            SELECT status, count(*) AS documents FROM documents GROUP BY status
            UNION ALL
            SELECT status, -count(*) FROM documents WHERE collection || '' = ANY (
                ARRAY(SELECT name::text FROM collections WHERE deleting_at IS NOT NULL)
            ) GROUP BY status
        ) AS counted GROUP BY status
        """
    )
    counts = {row["status"]: row["documents"] for row in rows}
    return {status: counts.get(status, 0) for status in DocumentStatus}


async def queue() -> Queue:
    """What is PENDING; only those rows are looked at."""
    (row,) = await fetch(
        """
        SELECT count(*) AS waiting, count(*) FILTER (WHERE next_attempt_at <= now()) AS due,
            extract(epoch FROM now() - min(next_attempt_at) FILTER (WHERE next_attempt_at <= now()))::float8
                AS oldest_waiting_s
        FROM documents WHERE status = 'PENDING'
        """
    )
    return Queue(row["waiting"], row["due"], row["oldest_waiting_s"])


async def throughput() -> list[Minute]:
    """Attempts that ended in each of the last minutes, oldest first; also those in which there were none."""
    rows = await fetch(
        f"""
        WITH ended AS (
            SELECT date_trunc('minute', ended_at) AS minute, outcome FROM attempts
            WHERE ended_at >= date_trunc('minute', now()) - interval '{MINUTES - 1} minutes'
        )
        SELECT minute, count(outcome) FILTER (WHERE outcome = 'completed') AS completed,
            count(outcome) FILTER (WHERE outcome IN ('failed', 'worker_lost')) AS failed
        FROM generate_series(
            date_trunc('minute', now()) - interval '{MINUTES - 1} minutes', now(), interval '1 minute'
        ) AS minute LEFT JOIN ended USING (minute)
        GROUP BY minute ORDER BY minute
        """
    )
    return [Minute(row["minute"], row["completed"], row["failed"]) for row in rows]


async def storage() -> Storage:
    """Sizes. Reads every document's row: dear enough to be asked seldom."""
    (row,) = await fetch(
        """
        SELECT pg_database_size(current_database()) AS database_bytes,
            (SELECT COALESCE(sum(size_bytes), 0)::bigint FROM documents) AS content_bytes,
            (SELECT COALESCE(sum(chunks), 0) FROM collections)::bigint
                + (SELECT COALESCE(sum(chunks), 0) FROM chunk_changes)::bigint AS chunks
        """
    )
    return Storage(row["database_bytes"], row["content_bytes"], row["chunks"])
