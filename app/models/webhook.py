"""Webhooks: addresses that are told when documents are final.

Secrets stay in this table, but for the moment in which something is signed: no other read returns them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from app.errors import TooManyWebhooks, WebhookNotFound
from app.models.document_status import DocumentStatus
from app.models.sql import fetch

#: Each final document looks at all of them.
MOST = 100

#: A webhook that has failed so often, one time after the other, and for so long, is disabled.
FAILURES_TO_DISABLE = 20
DAYS_TO_DISABLE = 3

COLUMNS = """id, url, statuses, collections, failures, failing_since, disabled_at, disabled_reason,
    created_at, updated_at"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """A row in `webhooks`, without its secret."""

    id: UUID
    url: str
    statuses: Sequence[DocumentStatus] | None  # None: both that are final.
    collections: Sequence[str] | None  # None: all.
    failures: int  # Since the last attempt that succeeded.
    failing_since: datetime | None
    disabled_at: datetime | None
    disabled_reason: str | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def _of(cls, row: Mapping[str, Any]) -> Self:
        statuses = row["statuses"]
        known = None if statuses is None else [DocumentStatus(status) for status in statuses]
        return cls(**{**row, "statuses": known})

    @classmethod
    async def create(
        cls,
        *,
        url: str,
        secret: str,
        statuses: Sequence[DocumentStatus] | None,
        collections: Sequence[str] | None,
    ) -> Self:
        """A new one, which is told of what ends from now on.

        Raises:
            TooManyWebhooks: There are `MOST` already.
        """
        rows = await fetch(
            f"""
            INSERT INTO webhooks (url, secret, statuses, collections)
            SELECT $1, $2, $3::varchar[], $4::varchar[] WHERE (SELECT count(*) FROM webhooks) < {MOST}
            RETURNING {COLUMNS}
            """,
            url,
            secret,
            statuses,
            collections,
        )
        if not rows:
            raise TooManyWebhooks(MOST)
        return cls._of(rows[0])

    @classmethod
    async def all(cls) -> list[Self]:
        """All of them, oldest first."""
        rows = await fetch(f"SELECT {COLUMNS} FROM webhooks ORDER BY created_at, id")
        return [cls._of(row) for row in rows]

    @classmethod
    async def get(cls, webhook_id: UUID) -> Self:
        """
        Raises:
            WebhookNotFound: There is none.
        """
        return cls._one(webhook_id, await fetch(f"SELECT {COLUMNS} FROM webhooks WHERE id = $1", webhook_id))

    @classmethod
    async def change(cls, webhook_id: UUID, changes: Mapping[str, Any]) -> Self:
        """Set columns; `is_enabled` takes back, or does, what failures do.

        Raises:
            WebhookNotFound: There is none.
        """
        values = {name: value for name, value in changes.items() if name != "is_enabled"}
        parts = [f"{name} = ${n}" for n, name in enumerate(values, 2)]
        if "is_enabled" in changes:
            parts.append(ENABLED if changes["is_enabled"] else DISABLED)
        rows = await fetch(
            f"UPDATE webhooks SET {', '.join([*parts, 'updated_at = now()'])} WHERE id = $1"
            f" RETURNING {COLUMNS}",
            webhook_id,
            *values.values(),
        )
        return cls._one(webhook_id, rows)

    @classmethod
    async def remove(cls, webhook_id: UUID) -> None:
        """Delete it with all its deliveries.

        Raises:
            WebhookNotFound: There is none.
        """
        rows = await fetch(
            f"""
            WITH gone AS (DELETE FROM webhook_deliveries WHERE webhook_id = $1)
            DELETE FROM webhooks WHERE id = $1 RETURNING {COLUMNS}
            """,
            webhook_id,
        )
        cls._one(webhook_id, rows)

    @classmethod
    def _one(cls, webhook_id: UUID, rows: Sequence[Mapping[str, Any]]) -> Self:
        if not rows:
            raise WebhookNotFound(webhook_id)
        return cls._of(rows[0])


ENABLED = "failures = 0, failing_since = NULL, disabled_at = NULL, disabled_reason = NULL"
SWITCHED_OFF = "It was switched off."
DISABLED = f"""disabled_at = COALESCE(disabled_at, now()),
    disabled_reason = COALESCE(disabled_reason, '{SWITCHED_OFF}')"""
