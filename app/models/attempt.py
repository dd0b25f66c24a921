"""What became of each attempt at a document: who, when, how far, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from tortoise import Model, fields

from app.models.document_status import Outcome
from app.models.sql import fetch

if TYPE_CHECKING:
    from app.models.document import Document


class Attempt(Model):
    """A row in `attempts`; written only together with the move that begins or ends it.

    A document that is PROCESSING has exactly one attempt that has not ended, any other document none.
    """

    id = fields.BigIntField(primary_key=True)
    document: fields.ForeignKeyRelation[Document] = fields.ForeignKeyField(
        "models.Document", related_name="attempts", on_delete=fields.CASCADE, db_index=False
    )
    document_id: UUID
    attempt = fields.IntField()  # The document's fence at that time: from 1, with gaps where an update came.
    version = fields.IntField()
    worker = fields.CharField(max_length=255)
    started_at = fields.DatetimeField()
    ended_at = fields.DatetimeField(null=True)
    outcome = fields.CharField(max_length=11, null=True)
    stage = fields.CharField(max_length=10, null=True)  # The last one, once the attempt has ended.
    stage_seconds: fields.Field[dict[str, float]] = fields.JSONField(
        default=dict
    )  # As far as they are known.
    error: fields.Field[dict[str, Any] | None] = fields.JSONField(null=True)

    class Meta:
        table = "attempts"


async def counted(document_ids: Sequence[UUID]) -> dict[UUID, tuple[int, int]]:
    """(attempts, those of them that failed) of documents; of those without any, nothing.

    `Document.attempt` is the fence, which updates raise as well, and `failures` begins anew with each retry.
    """
    rows = await fetch(
        f"""
        SELECT document_id, count(*) AS attempts, count(*) FILTER (
            WHERE outcome IN ('{Outcome.FAILED}', '{Outcome.WORKER_LOST}')
        ) AS failed
        FROM attempts WHERE document_id = ANY($1::uuid[]) GROUP BY document_id
        """,
        list(document_ids),
    )
    return {row["document_id"]: (row["attempts"], row["failed"]) for row in rows}


#: Part of a WITH, after `moved`: the documents that were claimed.
BEGUN = """
    INSERT INTO attempts (document_id, attempt, version, worker, started_at)
    SELECT id, attempt, version, lease_owner, now() FROM moved
"""


def ended(outcome: Outcome, *, stage: str = "NULL", seconds: str = "'{}'", error: str = "NULL") -> str:
    """Part of a WITH, after `moved`: ends the attempts that were under way at these documents.

    Args:
        stage, seconds, error: SQL, over `was` too, the documents as they were before the statement.
    """
    # All parts of a statement see the same snapshot: `was` is the row that `moved` has changed.
    return f"""
    UPDATE attempts SET ended_at = statement_timestamp(), outcome = '{outcome}',
        stage = COALESCE({stage}, was.stage), stage_seconds = {seconds}, error = {error}
    FROM moved JOIN documents AS was USING (id)
    WHERE attempts.document_id = moved.id AND attempts.ended_at IS NULL
    """
