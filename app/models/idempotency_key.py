"""`Idempotency-Key` of requests that were answered: the same key gets the same answer."""

from __future__ import annotations

from typing import Self
from uuid import UUID

from tortoise import Model, fields

from app.models.sql import fetch


class IdempotencyKey(Model):
    """A row in `idempotency_keys`, written in the transaction of the request that it answers."""

    key = fields.CharField(max_length=255, primary_key=True)
    fingerprint = fields.CharField(max_length=64)  # SHA-256 of what was asked, in hexadecimal.
    document_id: UUID | None = fields.UUIDField(null=True)  # Set when the transaction commits.
    status = fields.CharField(max_length=10, null=True)
    created = fields.BooleanField(null=True)
    created_at = fields.DatetimeField()

    class Meta:
        table = "idempotency_keys"

    @classmethod
    async def begin(cls, key: str, fingerprint: str) -> Self | None:
        """Take the key, inside the caller's transaction; who has it already, if somebody has.

        Of two requests at once, the second waits here until the first has committed or given up.
        """
        while True:
            if await fetch(
                "INSERT INTO idempotency_keys (key, fingerprint) VALUES ($1, $2)"
                " ON CONFLICT DO NOTHING RETURNING key",
                key,
                fingerprint,
            ):
                return None
            if known := await cls.get_or_none(key=key):
                return known
            # It ran out between our two looks: look again.

    @staticmethod
    async def answer(key: str, document_id: UUID, status: str, *, created: bool) -> None:
        """Remember what was answered, inside the caller's transaction."""
        await fetch(
            "UPDATE idempotency_keys SET document_id = $2, status = $3, created = $4"
            " WHERE key = $1 RETURNING key",
            key,
            document_id,
            status,
            created,
        )

    @staticmethod
    async def remove_old(*, older_than_s: float, limit: int) -> int:
        """Drop keys that nobody will repeat any more; how many those were."""
        rows = await fetch(
            """
            DELETE FROM idempotency_keys WHERE key IN (
                SELECT key FROM idempotency_keys WHERE created_at < now() - make_interval(secs => $1)
                ORDER BY created_at LIMIT $2
            ) RETURNING key
            """,
            older_than_s,
            limit,
        )
        return len(rows)
