"""What is to be told to webhooks, and what came of it: rows that triggers write with a document's last move.

They move as documents do (app/models/document.py): each move is one guarded `UPDATE`, `attempt` is the fence,
a lease says who is at it, and the clock is the database's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Self
from uuid import UUID

from app.errors import DeliveryNotFound
from app.models.sql import fetch
from app.models.webhook import DAYS_TO_DISABLE, FAILURES_TO_DISABLE

#: Seconds from one attempt to the next: eight attempts within a day.
BACKOFF_S = (5, 60, 300, 1800, 2 * 3600, 6 * 3600, 15 * 3600)

#: An attempt takes 15 s at the most (services/webhook_sender.py).
LEASE_S = 60

#: Attempts that are told, the newest.
MOST_ATTEMPTS = 20

COLUMNS = (
    """id, webhook_id, event, status, attempt, failures, attempts, next_attempt_at, created_at, ended_at"""
)


class DeliveryStatus(StrEnum):
    """The statuses of a delivery."""

    PENDING = "PENDING"  # Waits for its moment, or for a worker.
    SENDING = "SENDING"  # A worker is at it.
    DELIVERED = "DELIVERED"  # It was answered with 2xx.
    FAILED = "FAILED"  # Given up.


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an attempt."""

    seconds: float
    status_code: int | None = None  # None: there was no answer.
    error: str | None = None  # None: it succeeded.
    is_gone: bool = False  # The receiver says that it is no receiver any more.


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A row in `webhook_deliveries`."""

    id: UUID
    webhook_id: UUID
    event: Mapping[str, Any] | None  # None: a test.
    status: DeliveryStatus
    attempt: int
    failures: int
    attempts: Sequence[Mapping[str, Any]]
    next_attempt_at: datetime
    created_at: datetime
    ended_at: datetime | None

    @classmethod
    def _of(cls, row: Mapping[str, Any]) -> Self:
        known = {name: row[name] for name in cls.__slots__}
        event = row["event"]
        return cls(
            **{
                **known,
                "event": None if event is None else json.loads(event),
                "status": DeliveryStatus(row["status"]),
                "attempts": json.loads(row["attempts"]),
            }
        )

    # --- looking --------------------------------------------------------------------------------------------

    @classmethod
    async def listed(
        cls,
        webhook_id: UUID,
        *,
        statuses: Sequence[DeliveryStatus] | None,
        after: tuple[datetime, UUID] | None,
        limit: int,
    ) -> list[Self]:
        """Those of a webhook, newest first, behind a place."""
        created_at, last_id = after or (None, None)
        rows = await fetch(
            f"""
            SELECT {COLUMNS} FROM webhook_deliveries
            WHERE webhook_id = $1 AND ($2::text[] IS NULL OR status = ANY($2))
                AND ($3::timestamptz IS NULL OR (created_at, id) < ($3, $4::uuid))
            ORDER BY created_at DESC, id DESC LIMIT $5
            """,
            webhook_id,
            statuses,
            created_at,
            last_id,
            limit,
        )
        return [cls._of(row) for row in rows]

    # --- beginning ------------------------------------------------------------------------------------------

    @classmethod
    async def test(cls, webhook_id: UUID) -> Self | None:
        """One that says nothing but that it arrived; None when the webhook is disabled, or is not there."""
        rows = await fetch(
            f"""
            INSERT INTO webhook_deliveries (webhook_id)
            SELECT id FROM webhooks WHERE id = $1 AND disabled_at IS NULL
            RETURNING {COLUMNS}
            """,
            webhook_id,
        )
        return cls._of(rows[0]) if rows else None

    @classmethod
    async def replay(cls, webhook_id: UUID, delivery_id: UUID) -> Self:
        """Send it again, with all its tries; what waits already is due at once.

        Raises:
            DeliveryNotFound: The webhook has none of this id.
        """
        rows = await fetch(
            f"""
            WITH again AS (
                UPDATE webhook_deliveries SET status = 'PENDING', ended_at = NULL, failures = 0,
                    next_attempt_at = now()
                WHERE id = $1 AND webhook_id = $2 AND status <> 'SENDING' RETURNING {COLUMNS}
            )
            SELECT * FROM again UNION ALL
            SELECT {COLUMNS} FROM webhook_deliveries
            WHERE id = $1 AND webhook_id = $2 AND NOT EXISTS (SELECT FROM again)
            """,
            delivery_id,
            webhook_id,
        )
        if not rows:
            raise DeliveryNotFound(delivery_id)
        return cls._of(rows[0])

    @classmethod
    async def claim_due(cls, *, limit: int, to_one: int, in_hand: Mapping[UUID, int]) -> list[Claimed]:
        """Take in hand what is due, the longest due first; nothing of webhooks that are disabled or gone.

        Args:
            limit: At most so many,
            to_one: and so many to one webhook,
            in_hand: with those that the caller has in hand already.
        """
        rows = await fetch(
            f"""
            UPDATE webhook_deliveries AS d SET status = 'SENDING', attempt = d.attempt + 1,
                lease_expires_at = clock_timestamp() + interval '{LEASE_S} s'
            FROM (
                SELECT due.id, w.url, w.secret
                FROM webhooks AS w
                    LEFT JOIN unnest($3::uuid[], $4::int[]) AS busy (id, deliveries) USING (id),
                    LATERAL (
                        SELECT id, next_attempt_at FROM webhook_deliveries
                        WHERE webhook_id = w.id AND status = 'PENDING' AND next_attempt_at <= now()
                        ORDER BY next_attempt_at LIMIT GREATEST($2 - COALESCE(busy.deliveries, 0), 0)
                        FOR NO KEY UPDATE SKIP LOCKED
                    ) AS due
                WHERE w.disabled_at IS NULL ORDER BY due.next_attempt_at LIMIT $1
            ) AS due
            WHERE d.id = due.id
            RETURNING {", ".join(f"d.{name.strip()}" for name in COLUMNS.split(","))}, due.url, due.secret
            """,
            limit,
            to_one,
            list(in_hand),
            list(in_hand.values()),
        )
        return [Claimed(delivery=cls._of(row), url=row["url"], secret=row["secret"]) for row in rows]

    # --- ending ---------------------------------------------------------------------------------------------

    async def settle(self, outcome: Outcome) -> bool:
        """Write down what came of the attempt; False when it is in other hands by now.

        With it moves the webhook: one that goes on failing for days is disabled, and says why.
        """
        is_over = outcome.error is not None and (self.failures >= len(BACKOFF_S) or outcome.is_gone)
        status = DeliveryStatus.DELIVERED
        if outcome.error is not None:
            status = DeliveryStatus.FAILED if is_over else DeliveryStatus.PENDING
        wait_s = BACKOFF_S[min(self.failures, len(BACKOFF_S) - 1)]
        rows = await fetch(
            f"""
            WITH settled AS (
                UPDATE webhook_deliveries SET status = $3::varchar, lease_expires_at = NULL,
                    failures = failures + CASE WHEN $4::text IS NULL THEN 0 ELSE 1 END,
                    ended_at = CASE WHEN $3::varchar <> 'PENDING' THEN now() END,
                    next_attempt_at = now() + make_interval(secs => $5::float8 * (0.9 + random() / 5)),
                    attempts = (
                        SELECT jsonb_agg(each ORDER BY n) FROM jsonb_array_elements(
                            attempts || jsonb_build_object(
                                'attempt', attempt, 'at', now(), 'seconds', $6::float8,
                                'status_code', $7::int, 'error', $4::text
                            )
                        ) WITH ORDINALITY AS a (each, n)
                        WHERE n > jsonb_array_length(attempts) + 1 - {MOST_ATTEMPTS}
                    )
                WHERE id = $1 AND status = 'SENDING' AND attempt = $2 RETURNING webhook_id
            ), succeeded AS (
                UPDATE webhooks SET failures = 0, failing_since = NULL
                WHERE id = (SELECT webhook_id FROM settled) AND $4::text IS NULL AND failures > 0
            ), failed AS (
                UPDATE webhooks SET failures = failures + 1, failing_since = COALESCE(failing_since, now()),
                    disabled_at = COALESCE(disabled_at, CASE WHEN {DISABLES} THEN now() END),
                    disabled_reason = COALESCE(disabled_reason, CASE
                        WHEN $8::bool THEN 'The receiver says that it is gone (410).'
                        WHEN {DISABLES} THEN format(
                            '%s attempts in more than {DAYS_TO_DISABLE} days have failed. The last: %s',
                            failures + 1, $4::text
                        )
                    END)
                WHERE id = (SELECT webhook_id FROM settled) AND $4::text IS NOT NULL
            )
            SELECT * FROM settled
            """,
            self.id,
            self.attempt,
            status.value,
            outcome.error,
            wait_s,
            round(outcome.seconds, 3),
            outcome.status_code,
            outcome.is_gone,
        )
        return bool(rows)


DISABLES = f"""($8::bool OR failures + 1 >= {FAILURES_TO_DISABLE}
    AND failing_since < now() - interval '{DAYS_TO_DISABLE} days')"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A delivery in hand, with what it takes to make it."""

    delivery: Delivery
    url: str
    secret: str = field(repr=False)


# --- many at once ------------------------------------------------------------------------------------------


async def are_wanted() -> bool:
    """Whether anybody has a webhook."""
    (row,) = await fetch("SELECT EXISTS (SELECT FROM webhooks) AS are_wanted")
    return bool(row["are_wanted"])


async def reap(*, limit: int) -> int:
    """Take back what dead workers had in hand; how many those were. What arrived already comes again."""
    rows = await fetch(
        """
        UPDATE webhook_deliveries
        SET status = 'PENDING', lease_expires_at = NULL
        WHERE id IN (
            SELECT id FROM webhook_deliveries WHERE status = 'SENDING' AND lease_expires_at < now()
            ORDER BY lease_expires_at LIMIT $1 FOR UPDATE SKIP LOCKED
        ) RETURNING id
        """,
        limit,
    )
    return len(rows)


async def forget(*, older_than_s: float, limit: int) -> int:
    """Drop what ended so long ago, or waits for a webhook that is gone or disabled; how many those were."""
    rows = await fetch(
        """
        DELETE FROM webhook_deliveries WHERE id IN (
            (SELECT id FROM webhook_deliveries WHERE ended_at < now() - make_interval(secs => $1) LIMIT $2)
            UNION ALL
            (SELECT id FROM webhook_deliveries AS d
            WHERE status = 'PENDING' AND NOT EXISTS (
                SELECT FROM webhooks WHERE id = d.webhook_id
                    AND (disabled_at IS NULL OR d.created_at > now() - make_interval(secs => $1))
            ) LIMIT $2)
        ) RETURNING id
        """,
        older_than_s,
        limit,
    )
    return len(rows)
