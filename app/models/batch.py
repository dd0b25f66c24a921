"""Many documents that came in one request, and what became of each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self
from uuid import UUID

from tortoise import Model, fields
from tortoise.contrib.postgres.fields import ArrayField
from tortoise.fields.db_defaults import Now

from app.models.document import Document
from app.models.document_status import DocumentStatus
from app.models.reach import Reach, sent_within
from app.models.sql import fetch


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemResult:
    """What became of one item of a batch when it came."""

    index: int  # In the order of the body, from 0.
    name: str | None = None  # For people: a file's path, or the external id.
    document_id: UUID | None = None  # None when there is an error.
    status: DocumentStatus | None = None
    created: bool = False
    queued: bool = False  # Somebody has to ring the doorbell.
    message_id: str | None = None  # Of the message, where it has a name.
    error: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """How the documents of a batch are now."""

    items: int
    created: int
    known: int
    failed: int  # Items that were refused.
    deleted: int  # Documents that are gone since.
    by_status: Mapping[str, int]


class Batch(Model):
    """A row in `batches`; made with its first items."""

    id = fields.UUIDField(primary_key=True)
    created_at = fields.DatetimeField(db_default=Now())
    touched_at = fields.DatetimeField(db_default=Now())  # When its last items came.
    closed_at = fields.DatetimeField(null=True)  # When no more could come.
    error: fields.Field[dict[str, Any] | None] = fields.JSONField(null=True)  # Why its body has no end.
    reach = ArrayField(element_type="text", null=True)  # Collections that its sender's key opens; NULL: all.

    class Meta:
        table = "batches"

    @classmethod
    async def find(cls, batch_id: UUID, reach: Reach) -> Self | None:
        """The batch, unless it was sent with a wider reach than this one."""
        rows = await fetch(
            f"SELECT * FROM batches WHERE id = $1 AND {sent_within('reach', '$2')}", batch_id, reach.names()
        )
        return cls._init_from_db(**rows[0]) if rows else None

    @classmethod
    async def is_hidden(cls, batch_id: UUID, reach: Reach) -> bool:
        """Whether there is such a batch, but not for this reach."""
        return reach.is_limited and await cls.exists(id=batch_id) and await cls.find(batch_id, reach) is None

    @staticmethod
    async def note(batch_id: UUID, results: Sequence[ItemResult], reach: Reach) -> None:
        """Write down what became of some items; a document that is gone again is left out of its item."""
        await fetch(
            """
            WITH batch AS (
                INSERT INTO batches (id, reach) VALUES ($1, $7::text[])
                ON CONFLICT (id) DO UPDATE SET touched_at = now() RETURNING id
            ), alive AS MATERIALIZED (
                SELECT id FROM documents WHERE id = ANY($4::uuid[]) FOR KEY SHARE
            )
            INSERT INTO batch_items (batch_id, index, name, document_id, created, error)
            SELECT batch.id, item.index, item.name, alive.id, item.created, item.error::jsonb
            FROM batch, unnest($2::int[], $3::text[], $4::uuid[], $5::bool[], $6::text[])
                    AS item (index, name, document_id, created, error)
                LEFT JOIN alive ON alive.id = item.document_id
            RETURNING id
            """,
            batch_id,
            [result.index for result in results],
            [result.name for result in results],
            [result.document_id for result in results],
            [result.created for result in results],
            [None if result.error is None else json.dumps(result.error) for result in results],
            reach.names(),
        )

    @staticmethod
    async def close(batch_id: UUID, error: Mapping[str, Any] | None) -> None:
        """Nothing more comes: the body was read to its end, or, with an error, as far as could be."""
        await fetch(
            "UPDATE batches SET closed_at = now(), error = $2::jsonb WHERE id = $1 RETURNING id",
            batch_id,
            None if error is None else json.dumps(error),
        )

    @property
    def is_closed(self) -> bool:
        return self.closed_at is not None

    async def tally(self) -> Tally:
        """Count its items, by what became of them and by how their documents are."""
        rows = await fetch(
            """
            SELECT d.status, count(*) AS items, count(*) FILTER (WHERE i.created) AS created,
                count(*) FILTER (WHERE i.error IS NOT NULL) AS failed, count(DISTINCT d.id) AS documents
            FROM batch_items AS i LEFT JOIN documents AS d ON d.id = i.document_id
            WHERE i.batch_id = $1 GROUP BY d.status
            """,
            self.id,
        )
        items, created, failed = (sum(row[name] for row in rows) for name in ("items", "created", "failed"))
        return Tally(
            items=items,
            created=created,
            known=items - created - failed,
            failed=failed,
            deleted=sum(row["items"] - row["failed"] for row in rows if row["status"] is None),
            by_status={row["status"]: row["documents"] for row in rows if row["status"] is not None},
        )

    @staticmethod
    async def close_abandoned(*, silent_s: float, error: Mapping[str, Any]) -> None:
        """Close those whose process died while it read them."""
        await fetch(
            "UPDATE batches SET closed_at = now(), error = $2::jsonb"
            " WHERE closed_at IS NULL AND touched_at < now() - make_interval(secs => $1) RETURNING id",
            silent_s,
            json.dumps(error),
        )

    @staticmethod
    async def remove_old(*, older_than_s: float, limit: int) -> int:
        """Drop batches whose documents have all been final for so long; how many those were."""
        rows = await fetch(
            """
            DELETE FROM batches WHERE id IN (
                SELECT b.id FROM batches AS b
                WHERE b.closed_at < now() - make_interval(secs => $1) AND NOT EXISTS (
                    SELECT FROM batch_items AS i JOIN documents AS d ON d.id = i.document_id
                    WHERE i.batch_id = b.id AND (
                        d.status IN ('PENDING', 'PROCESSING')
                        OR d.updated_at > now() - make_interval(secs => $1)
                    )
                )
                ORDER BY b.closed_at LIMIT $2
            ) RETURNING id
            """,
            older_than_s,
            limit,
        )
        return len(rows)


class BatchItem(Model):
    """A row in `batch_items`. It stays when its document is deleted, without it."""

    id = fields.BigIntField(primary_key=True)
    batch: fields.ForeignKeyRelation[Batch] = fields.ForeignKeyField(
        "models.Batch", related_name="items", on_delete=fields.CASCADE, db_index=False
    )
    batch_id: UUID
    index = fields.IntField()
    name = fields.TextField(null=True)
    document: fields.ForeignKeyNullableRelation[Document] = fields.ForeignKeyField(
        "models.Document", null=True, related_name="batch_items", on_delete=fields.SET_NULL, db_index=False
    )
    document_id: UUID | None
    created = fields.BooleanField()
    error: fields.Field[dict[str, Any] | None] = fields.JSONField(null=True)

    class Meta:
        table = "batch_items"


@dataclass(frozen=True, slots=True)
class ItemNow:
    """An item of a batch, with its document's present status."""

    index: int
    name: str | None
    document_id: UUID | None
    status: DocumentStatus | None
    created: bool
    error: Mapping[str, Any] | None


async def items_now(batch_id: UUID, *, after: int, limit: int) -> list[ItemNow]:
    """Items behind the index `after`, in their order."""
    rows = await fetch(
        """
        SELECT i.index, i.name, i.document_id, d.status, i.created, i.error
        FROM batch_items AS i LEFT JOIN documents AS d ON d.id = i.document_id
        WHERE i.batch_id = $1 AND i.index > $2 ORDER BY i.index LIMIT $3
        """,
        batch_id,
        after,
        limit,
    )
    return [
        ItemNow(
            row["index"],
            row["name"],
            row["document_id"],
            None if row["status"] is None else DocumentStatus(row["status"]),
            row["created"],
            None if row["error"] is None else json.loads(row["error"]),
        )
        for row in rows
    ]
