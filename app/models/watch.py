"""What those who are on call are told beside the figures: what is late, what failed lately, what is stuck."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.models.document_status import Outcome
from app.models.sql import fetch
from app.models.webhook import SWITCHED_OFF

#: How far back "lately" goes. Rows go with their documents, so that nothing here counts from the beginning.
LATELY_MINUTES = 15


@dataclass(frozen=True, slots=True)
class Leases:
    """Documents that are PROCESSING."""

    held: int  # By a worker that beats.
    expired: int  # By one that does not, until the reconciler of another takes them back.


@dataclass(frozen=True, slots=True)
class Lately:
    """What ended lately."""

    attempts: Mapping[Outcome, int]
    documents_failed: int  # Given up, by an attempt that failed; cancelled ones are not.


@dataclass(frozen=True, slots=True)
class Deliveries:
    """What webhooks are to be told."""

    due: int
    oldest_due_s: float  # How long the one that is due longest has been; 0 when none is.
    failed_lately: int  # Given up.
    webhooks_disabled: int  # Because they went on failing, not by a person.


@dataclass(frozen=True, slots=True)
class Watch:
    """All of it."""

    leases: Leases
    lately: Lately
    deliveries: Deliveries


async def look() -> Watch:
    """Ask for all of it, one after the other: who watches must not take connections from those who work."""
    return Watch(await leases(), await lately(), await deliveries())


async def leases() -> Leases:
    """Who holds what is PROCESSING; only those rows are looked at."""
    (row,) = await fetch(
        """
        SELECT count(*) FILTER (WHERE lease_expires_at > now()) AS held,
            count(*) FILTER (WHERE lease_expires_at <= now()) AS expired
        FROM documents WHERE status = 'PROCESSING'
        """
    )
    return Leases(row["held"], row["expired"])


async def lately() -> Lately:
    """What ended in the last minutes. Only documents whose last attempt failed are looked at."""
    rows = await fetch(
        f"""
        WITH ended AS (
            SELECT document_id, attempt, outcome FROM attempts
            WHERE ended_at > now() - interval '{LATELY_MINUTES} minutes'
        )
        SELECT outcome, count(*) AS attempts, 0 AS documents FROM ended GROUP BY outcome UNION ALL
        SELECT NULL, 0, count(*) FROM ended JOIN documents AS d ON d.id = document_id
        WHERE outcome IN ('failed', 'worker_lost') AND d.status = 'FAILED' AND d.attempt = ended.attempt
        """
    )
    attempts = {row["outcome"]: row["attempts"] for row in rows}
    return Lately(
        {outcome: attempts.get(outcome, 0) for outcome in Outcome}, sum(row["documents"] for row in rows)
    )


async def deliveries() -> Deliveries:
    """What is due to webhooks that are not disabled, and what was given up lately."""
    (row,) = await fetch(
        f"""
        SELECT due.*, (
                SELECT count(*) FROM webhook_deliveries
                WHERE ended_at > now() - interval '{LATELY_MINUTES} minutes' AND status = 'FAILED'
            ) AS failed_lately,
            (SELECT count(*) FROM webhooks WHERE disabled_reason <> $1) AS webhooks_disabled
        FROM (
            SELECT count(*) AS due,
                COALESCE(extract(epoch FROM now() - min(d.next_attempt_at)), 0)::float8 AS oldest_due_s
            FROM webhook_deliveries AS d JOIN webhooks AS w ON w.id = d.webhook_id
            WHERE d.status = 'PENDING' AND d.next_attempt_at <= now() AND w.disabled_at IS NULL
        ) AS due
        """,
        SWITCHED_OFF,
    )
    return Deliveries(**row)
