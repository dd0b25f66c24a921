"""Which worker processes are alive, idle ones too: each says so in `workers` as often as it beats."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

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


async def say_alive(name: str, *, for_s: float) -> None:
    """This worker will be taken for alive until so many seconds from now."""
    await fetch(
        """
        INSERT INTO workers (name, alive_until) VALUES ($1, now() + make_interval(secs => $2))
        ON CONFLICT (name) DO UPDATE SET alive_until = EXCLUDED.alive_until RETURNING name
        """,
        name,
        for_s,
    )


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
