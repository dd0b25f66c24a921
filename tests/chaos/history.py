"""Figures out of the history: how long documents waited, and for whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from tests.chaos.database import Database

# By attempt, not by time: a commit has its time before others can see it.
TAKEN_OVER = """
    SELECT held.id,
        extract(epoch FROM min(m.committed_at))::float - $3 AS back_s,
        extract(epoch FROM min(m.committed_at) FILTER (WHERE m.status <> 'PENDING'))::float - $3 AS taken_s
    FROM unnest($1::uuid[], $2::int[]) AS held (id, attempt)
    LEFT JOIN chaos.moves m ON m.document_id = held.id
        AND (m.attempt > held.attempt OR (m.attempt = held.attempt AND m.was = 'PROCESSING'))
    GROUP BY held.id
"""
HELD = """
    SELECT id, attempt, lease_owner FROM documents
    WHERE status = 'PROCESSING' AND lease_owner = COALESCE($1, lease_owner) AND stage = COALESCE($2, stage)
"""
# From when it was accepted (or renewed, retried, released …) until it was claimed.
WAITS = """
    SELECT document_id, extract(epoch FROM committed_at)::float AS since,
        extract(epoch FROM next_at - committed_at)::float AS waited_s
    FROM (
        SELECT document_id, committed_at, status, COALESCE(was, '-') AS was,
            lead(committed_at) OVER (PARTITION BY document_id ORDER BY seq) AS next_at
        FROM chaos.moves
    ) moves WHERE status = 'PENDING' AND was <> 'PROCESSING'
"""


class Held(NamedTuple):
    """A document in a worker's hand."""

    id: UUID
    attempt: int


async def held_by(database: Database, owner: str, stage: str | None = None) -> list[Held]:
    """What a worker process has in hand (in a stage), as far as anything is committed."""
    return [Held(row["id"], row["attempt"]) for row in await database.rows(HELD, owner, stage)]


class Takeover(NamedTuple):
    """How long a document waited whose worker was gone; inf: for ever."""

    back_s: float  # Until it was back in line, if nothing more.
    taken_s: float  # Until the next worker had it, or it was final.


async def takeovers(database: Database, held: Sequence[Held], since: float) -> list[Takeover]:
    """Of documents that were held at a moment."""
    ids, attempts = [each.id for each in held], [each.attempt for each in held]
    rows = await database.rows(TAKEN_OVER, ids, attempts, since)
    return [Takeover(*(float("inf") if wait is None else wait for wait in row[1:])) for row in rows]


async def last_move(database: Database) -> float:
    """When the last one was."""
    return float(await database.value("SELECT extract(epoch FROM max(committed_at))::float FROM chaos.moves"))


async def longest_wait(database: Database, *, since: float = 0, until: float = float("inf")) -> float:
    """The longest that a new document, or version, waited to be claimed; of those that began in a time."""
    rows = await database.rows(f"SELECT since, waited_s FROM ({WAITS}) w")
    waits = [row["waited_s"] for row in rows if since <= row["since"] <= until]
    return max((float("inf") if wait is None else wait for wait in waits), default=0.0)


async def waits_of(database: Database, ids: list[str]) -> list[float]:
    """How long these documents waited for their first claim."""
    rows = await database.rows(f"SELECT waited_s FROM ({WAITS}) w WHERE document_id = ANY($1::uuid[])", ids)
    return [float("inf") if row["waited_s"] is None else row["waited_s"] for row in rows]


async def waiting_at(database: Database, moment: float) -> list[float]:
    """How much longer those documents waited that were PENDING and due at a moment."""
    rows = await database.rows(f"SELECT since, waited_s FROM ({WAITS}) w")
    ends = [
        (row["since"], float("inf") if row["waited_s"] is None else row["since"] + row["waited_s"])
        for row in rows
    ]
    return [end - moment for since, end in ends if since <= moment < end]


async def owners_in_hand(database: Database, stage: str | None = None) -> Counter[str]:
    """How many documents each worker process holds just now (in a stage)."""
    return Counter(row["lease_owner"] for row in await database.rows(HELD, None, stage))


async def moves(database: Database) -> int:
    """How many moves there were so far."""
    return int(await database.value("SELECT COALESCE(max(seq), 0) FROM chaos.history"))
