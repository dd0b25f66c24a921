"""Which worker processes are alive, idle ones too: each says so in `workers` as often as it beats.

That one has died can be seen at once. Its lifeline is a lock on a connection of its own: the server lets go
of it when the process ends, however it ends. It shows neither that one stands still nor that its machine is
gone; then its leases run out.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from app.models.sql import fetch

#: Documents that are told of; a worker process holds eight of them or so.
MOST_HELD = 1000


@dataclass(frozen=True, slots=True)
class Held:
    """A document in the hands of a worker."""

    document_id: UUID
    title: str | None
    stage: str | None
    progress: Mapping[str, Any] | None
    since: datetime


@dataclass(frozen=True, slots=True)
class Alive:
    """A worker that has said so lately, or has a lease that holds."""

    name: str
    held: list[Held] = field(default_factory=list)


class Lifeline(NamedTuple):
    """A worker, and the key of a lock that nobody else ever has."""

    worker: str
    key: int


async def tie(connection: asyncpg.Connection, key: int) -> None:
    """Lock a key until the connection ends."""
    await connection.execute("SELECT pg_advisory_lock($1)", key)


async def say_alive(
    name: str, *, for_s: float, key: int | None = None, connection: asyncpg.Connection | None = None
) -> None:
    """This worker will be taken for alive until `for_s` seconds from now.

    Args:
        name: The worker's.
        for_s: Seconds.
        key: Of its lifeline; None if it has none.
        connection: What to say it on; any one of the pool when None.
    """
    saying = (
        """
        INSERT INTO workers (name, alive_until, lifeline) VALUES ($1, now() + make_interval(secs => $2), $3)
        ON CONFLICT (name) DO UPDATE SET alive_until = EXCLUDED.alive_until, lifeline = EXCLUDED.lifeline
        RETURNING name
        """,
        name,
        for_s,
        key,
    )
    await (fetch(*saying) if connection is None else connection.fetch(*saying))


async def torn() -> set[Lifeline]:
    """Lifelines that nobody holds: of workers that have died, or are about to take another one."""
    rows = await fetch(
        """
        WITH tied AS MATERIALIZED (SELECT name, lifeline FROM workers WHERE lifeline IS NOT NULL)
        SELECT name, lifeline FROM tied WHERE pg_try_advisory_xact_lock_shared(lifeline)
        """
    )
    return {Lifeline(row["name"], row["lifeline"]) for row in rows}


async def give_up(lifelines: Collection[Lifeline]) -> list[str]:
    """End the leases of workers that have not tied another lifeline since.

    Returns:
        The names of those that are done with. A document that is locked just then, as its worker died in the
        middle of a statement that goes on, keeps its worker's row, so that the next sweep tries again.
    """
    rows = await fetch(
        """
        WITH dead AS MATERIALIZED (
            SELECT w.name FROM workers AS w
                JOIN unnest($1::text[], $2::bigint[]) AS torn (name, lifeline) USING (name, lifeline)
            ORDER BY w.name FOR UPDATE OF w SKIP LOCKED
        ), held AS MATERIALIZED (
            SELECT id, lease_owner FROM documents
            WHERE status = 'PROCESSING' AND lease_expires_at > now()
                AND lease_owner IN (SELECT name FROM dead)
        ), ended AS (
            UPDATE documents SET lease_expires_at = now() WHERE id IN (
                SELECT id FROM documents WHERE id IN (SELECT id FROM held) FOR NO KEY UPDATE SKIP LOCKED
            ) RETURNING id
        )
        DELETE FROM workers WHERE name IN (SELECT name FROM dead) AND name NOT IN (
            SELECT lease_owner FROM held WHERE id NOT IN (SELECT id FROM ended)
        )
        RETURNING name
        """,
        [lifeline.worker for lifeline in lifelines],
        [lifeline.key for lifeline in lifelines],
    )
    return [row["name"] for row in rows]


async def say_gone(name: str) -> None:
    """This worker has stopped."""
    await fetch("DELETE FROM workers WHERE name = $1 RETURNING name", name)


async def forget_dead() -> None:
    """Drop the rows of those that went without a word, hours ago."""
    await fetch("DELETE FROM workers WHERE alive_until < now() - interval '1 hour' RETURNING name")


async def alive() -> list[Alive]:
    """All that are alive, by name, with what each has in hand. A lease that holds is a sign of life, too."""
    rows = await fetch(
        f"""
        SELECT COALESCE(w.name, d.lease_owner) AS worker, d.id,
            COALESCE(d.title, d.source_name, d.external_id) AS title, d.stage,
            CASE WHEN d.progress_unit IS NOT NULL THEN jsonb_build_object(
                'unit', d.progress_unit, 'done', COALESCE(d.progress_done, 0), 'total', d.progress_total
            ) END AS progress, COALESCE(a.started_at, d.updated_at) AS since
        FROM (SELECT name FROM workers WHERE alive_until > now()) AS w FULL JOIN (
            SELECT * FROM documents WHERE status = 'PROCESSING' AND lease_expires_at > now()
            ORDER BY lease_expires_at DESC LIMIT {MOST_HELD}
        ) AS d ON d.lease_owner = w.name
            LEFT JOIN attempts AS a ON a.document_id = d.id AND a.attempt = d.attempt
        ORDER BY worker, since, d.id
        """
    )
    return list(_by_worker(rows))


def _by_worker(rows: list[dict[str, Any]]) -> Iterator[Alive]:
    worker: Alive | None = None
    for row in rows:
        if worker is None or worker.name != row["worker"]:
            if worker is not None:
                yield worker
            worker = Alive(row["worker"])
        if row["id"] is not None:
            progress = None if row["progress"] is None else json.loads(row["progress"])
            worker.held.append(Held(row["id"], row["title"], row["stage"], progress, row["since"]))
    if worker is not None:
        yield worker
