"""A document and its moves: with acceptance.py, where it begins, and backlog.py and completion.py, which move
many at once, all that writes a document's status.

Every move is one guarded `UPDATE … WHERE id = … AND status IN (…) RETURNING`: no row means that somebody else
was first. `attempt` is the fence: `claim` raises it, and a worker that still works under an older number can
write nothing. All clocks are the database's. docs/state_machine.md tells the same at length.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from uuid import UUID

import asyncpg
from tortoise import Model, fields
from tortoise.fields.db_defaults import Now
from uuid_utils.compat import uuid7

from app.errors import Cancelled
from app.models import chunk_words
from app.models.attempt import BEGUN, ended
from app.models.completion import Done, Ingested, complete
from app.models.document_status import (
    CANCEL,
    CLAIM,
    FAIL,
    HAND_BACK,
    ON_ENTERING,
    RELEASE,
    RENEW,
    RETRY,
    DocumentStatus,
    Move,
    Stage,
)
from app.models.merge_patch import merged
from app.models.reach import Reach, within
from app.models.sql import fetch, transaction
from app.models.told_error import told
from app.models.turns import IS_NEARLY_FIRST, next_turn

if TYPE_CHECKING:
    from app.models.acceptance import NewDocument

__all__ = ["Document", "DocumentStatus", "Ingested", "Stage"]

#: The first run and five retries.
MAX_FAILURES = 6

#: What a document is called while nobody says anything.
EMPTY: Mapping[str, Any] = MappingProxyType({"title": None, "metadata": {}})

#: What an embedding service may ask a document to wait.
LONGEST_WAIT_S = 3600

#: By $1, for $2 seconds; not from now(), which is when a wait for the row began.
LEASED = "lease_owner = $1, lease_expires_at = clock_timestamp() + make_interval(secs => $2)"

#: `sent_at` of a document that has no message for certain: it is sent however long the queue is.
UNSENT = "timestamptz 'epoch'"


def first_message(document_id: UUID, version: int) -> str:
    """What the first message about a version is called in the queue: who makes it superfluous finds it."""
    return f"{document_id}:{version}"


class Document(Model):
    """A row in `documents`. Instances are snapshots: only the moves below change the row."""

    id = fields.UUIDField(primary_key=True, default=uuid7)
    collection = fields.CharField(max_length=200, default="default")
    external_id = fields.CharField(max_length=1024, null=True)
    version = fields.IntField(default=1)
    title = fields.TextField(null=True)
    source_name = fields.CharField(max_length=1024, null=True)
    media_type = fields.CharField(max_length=255)
    sha256 = fields.CharField(max_length=64)
    size_bytes = fields.BigIntField()
    content_key = fields.CharField(max_length=255, null=True)  # NULL: the content is in `document_contents`.
    metadata: fields.Field[dict[str, Any]] = fields.JSONField(default=dict)
    patched_title = fields.BooleanField(default=False)  # By `amend`; an update without one leaves it.
    patched_metadata = fields.BooleanField(default=False)  # Likewise.

    status = fields.CharField(max_length=10, default=DocumentStatus.PENDING.value)
    stage = fields.CharField(max_length=10, null=True, default=Stage.QUEUED.value)
    progress_unit = fields.CharField(max_length=10, null=True)
    progress_done = fields.IntField(null=True)
    progress_total = fields.IntField(null=True)
    processing_errors = fields.TextField(null=True)
    error: fields.Field[dict[str, Any] | None] = fields.JSONField(null=True)
    warnings: fields.Field[list[str]] = fields.JSONField(default=list)

    attempt = fields.IntField(default=0)
    failures = fields.IntField(default=0)
    next_attempt_at = fields.DatetimeField(db_default=Now())
    turn = fields.BigIntField(default=0)  # Among all that wait; see turns.py.
    lease_owner = fields.CharField(max_length=255, null=True)
    lease_expires_at = fields.DatetimeField(null=True)
    sent_at = fields.DatetimeField(db_default=Now())  # Its last message; of a retry, when that is due.
    sends = fields.IntField(default=0)  # Messages that the reconciler has added.

    indexed_version = fields.IntField(null=True)  # Whose chunks can be found; an update leaves the old ones.
    cited: fields.Field[dict[str, Any] | None] = fields.JSONField(null=True)  # What that version was called.
    chunk_count = fields.IntField(default=0)
    space_id = fields.SmallIntField(null=True)  # The newest that its chunks have vectors in (reembedding.py).
    reembed_lease_expires_at = fields.DatetimeField(null=True)
    created_at = fields.DatetimeField(db_default=Now())
    updated_at = fields.DatetimeField(db_default=Now())
    completed_at = fields.DatetimeField(null=True)

    class Meta:
        table = "documents"

    @classmethod
    async def find(cls, document_id: UUID, reach: Reach) -> Self | None:
        """The document; None when there is none within reach, or it goes with its collection."""
        rows = await fetch(
            f"""
            SELECT * FROM documents WHERE id = $1 AND {within("collection", "$2")} AND collection NOT IN (
                SELECT name FROM collections WHERE deleting_at IS NOT NULL
            )
            """,
            document_id,
            reach.names(),
        )
        return cls._init_from_db(**rows[0]) if rows else None

    # --- what a worker does ---------------------------------------------------------------------------------

    @classmethod
    async def claim(
        cls, document_id: UUID, *, owner: str, lease_s: float, if_nearly_first: bool = False
    ) -> Self | None:
        """Take the document in hand for `lease_s` seconds; None when it is not due, not ours or not there.

        Args:
            document_id: Which one.
            owner: Who takes it.
            lease_s: For how long, unless the lease is renewed.
            if_nearly_first: Not when it is somebody else's turn (turns.py).
        """
        return await cls._move(
            CLAIM,
            document_id,
            LEASED,
            owner,
            lease_s,
            guard="next_attempt_at <= now()" + (f" AND {IS_NEARLY_FIRST}" if if_nearly_first else ""),
        )

    @staticmethod
    async def beat(
        connection: asyncpg.Connection, held: Sequence[Document], *, lease_s: float
    ) -> set[tuple[UUID, int]]:
        """Renew the leases and write the progress of all that a process holds, in one statement.

        A row that is locked just now, by its own commit for one, is passed over: a beat must not wait for one
        document with the leases of all the others. Whoever has the lock decides what becomes of that one.

        Returns:
            `(id, attempt)` of those that it still holds; the work on the others must stop.
        """
        rows = await connection.fetch(
            """
            WITH held AS (
                SELECT * FROM unnest($2::uuid[], $3::int[], $4::text[], $5::text[], $6::int[], $7::int[])
                    AS h (id, attempt, stage, unit, done, total)
            ), free AS (
                SELECT d.id FROM documents AS d JOIN held USING (id, attempt)
                WHERE d.status = 'PROCESSING' FOR NO KEY UPDATE OF d SKIP LOCKED
            ), renewed AS (
                UPDATE documents AS d
                SET lease_expires_at = clock_timestamp() + make_interval(secs => $1), updated_at = now(),
                    stage = held.stage, progress_unit = held.unit, progress_done = held.done,
                    progress_total = held.total
                FROM held JOIN free USING (id) WHERE d.id = held.id
            )
            SELECT d.id, d.attempt FROM documents AS d JOIN held USING (id, attempt)
            WHERE d.status IN ('PROCESSING', 'COMPLETED') -- COMPLETED under this attempt: by us, just now.
            """,
            lease_s,
            [document.id for document in held],
            [document.attempt for document in held],
            [document.stage for document in held],
            [document.progress_unit for document in held],
            [document.progress_done for document in held],
            [document.progress_total for document in held],
        )
        return {(row["id"], row["attempt"]) for row in rows}

    async def complete(self, ingested: Ingested) -> bool:
        """Store the chunks and finish, in one transaction; False means that the lease was lost.

        Raises:
            ModelChanged: The collection has another model by now.
        """
        (is_completed,) = await complete([Done(self, ingested)])
        return is_completed

    async def release(self, error: Exception, *, backoff_s: float) -> float | None:
        """Give it back after a transient failure, to be tried again later; FAILED when those are used up.

        The wait is a half to once `backoff_s * 2**failures`, or what the error asks for, if that is longer;
        but a service that asks for a day gets an hour, as every document has its end within a known time.

        Returns:
            Seconds until it is due; None when it is not tried again, or the lease was lost.
        """
        if self.failures + 1 >= MAX_FAILURES:
            await self.fail(error)
            return None
        wait_s = backoff_s * 2**self.failures
        asked_s = min(getattr(error, "retry_after_s", None) or 0, LONGEST_WAIT_S)
        due_s: float = max(random.uniform(wait_s / 2, wait_s), asked_s)  # noqa: S311
        released = await self._move(
            RELEASE,
            self.id,
            """stage = 'retry_wait', failures = failures + 1,
            processing_errors = concat_ws(E'\\n', processing_errors, $1::text),
            next_attempt_at = now() + make_interval(secs => $2),
            sent_at = now() + make_interval(secs => $2)""",
            self._line(error),
            due_s,
            attempt=self.attempt,
            ending=self.ending(error),
        )
        return due_s if released is not None else None

    async def fail(self, error: Exception) -> bool:
        """Give it up for good; False means that the lease was lost."""
        failed = await self._move(
            FAIL,
            self.id,
            """failures = failures + 1, error = $1::jsonb,
            processing_errors = concat_ws(E'\\n', processing_errors, $2::text)""",
            json.dumps(told(error, stage=self.stage)),
            self._line(error),
            attempt=self.attempt,
            ending=self.ending(error),
        )
        return failed is not None

    async def hand_back(self) -> bool:
        """Give it back because this process stops: no failure, and due at once."""
        returned = await self._move(
            HAND_BACK,
            self.id,
            f"stage = 'queued', next_attempt_at = now(), sent_at = {UNSENT}",
            attempt=self.attempt,
            ending=self.ending(None),
        )
        return returned is not None

    def enter(self, stage: Stage, *, unit: str | None = None, total: int | None = None) -> None:
        """Note what is being done; the next beat writes it down."""
        self.stage, self.progress_unit = stage.value, unit
        self.progress_done, self.progress_total = (None if unit is None else 0), total
        self._stages.append((stage, time.monotonic()))

    @property
    def message_id(self) -> str:
        """What the first message about this version is called."""
        return first_message(self.id, self.version)

    @cached_property
    def _stages(self) -> list[tuple[Stage, float]]:
        return []

    @property
    def seconds_in_hand(self) -> float:
        """How long this process has been at work on it."""
        return time.monotonic() - self._stages[0][1] if self._stages else 0

    def ending(self, error: Exception | None = None) -> Ending:
        """What is to be remembered of this attempt."""
        marks = [*self._stages, (None, time.monotonic())]
        seconds = {
            stage.value: round(end - began, 3) for (stage, began), (_, end) in pairwise(marks) if stage
        }
        return Ending(self.stage, seconds, told(error, stage=self.stage) if error else None)

    def _line(self, error: Exception) -> str:
        said = told(error, stage=self.stage)
        return f"attempt {self.attempt}, {said['stage']}: {said['code']}: {said['message']}"

    # --- what people do -------------------------------------------------------------------------------------

    @classmethod
    async def retry(cls, document_id: UUID) -> bool:
        """Queue a FAILED document again, with all its tries; False when it is not FAILED."""
        retried = await cls._move(
            RETRY,
            document_id,
            f"""failures = 0, processing_errors = NULL, stage = 'queued', next_attempt_at = now(),
            sent_at = now(), turn = {next_turn("documents.collection")}""",
        )
        return retried is not None

    async def renew(self, new: NewDocument) -> Self | None:
        """Begin the next version; the chunks of this one answer searches until the new ones are there.

        Returns:
            The row as it is now; None when somebody else was first.
        """
        async with transaction() as db:
            await self._lock(self.id, db)
            renewed = await self._move(
                RENEW,
                self.id,
                f"""version = version + 1, attempt = attempt + 1, failures = 0, processing_errors = NULL,
                stage = 'queued', next_attempt_at = now(), sent_at = now(),
                turn = {next_turn("documents.collection")},
                sha256 = $1, size_bytes = $2, media_type = $3, content_key = $4, source_name = $5,
                title = COALESCE($6::text, CASE WHEN patched_title THEN title END),
                metadata = CASE WHEN $7::jsonb = '{{}}' AND patched_metadata THEN metadata ELSE $7::jsonb END,
                patched_title = patched_title AND $6::text IS NULL,
                patched_metadata = patched_metadata AND $7::jsonb = '{{}}'""",
                new.sha256,
                new.size_bytes,
                new.media_type,
                new.content_key,
                new.source_name,
                new.title,
                json.dumps(new.metadata or {}),
                version=self.version,
                db=db,
            )
            if renewed is None:
                return None
            await db.execute_query("DELETE FROM document_contents WHERE document_id = $1", [self.id])
            if new.content is not None:
                await db.execute_query(
                    "INSERT INTO document_contents (document_id, content) VALUES ($1, $2)",
                    [self.id, new.content],
                )
        return renewed

    @classmethod
    async def cancel(cls, document_id: UUID) -> bool:
        """Give up a document that is not final yet; its worker notices at its next beat."""
        error = Cancelled()
        async with transaction() as db:
            await cls._lock(document_id, db)
            cancelled = await cls._move(
                CANCEL,
                document_id,
                "error = $1::jsonb, processing_errors = concat_ws(E'\\n', processing_errors, $2::text)",
                json.dumps(told(error, stage=None)),
                f"{error.code}: {error}",
                db=db,
            )
        return cancelled is not None

    @classmethod
    async def locked(cls, document_id: UUID, reach: Reach) -> Self | None:
        """The document as it is, and stays until the caller's transaction ends; None when there is none
        within reach."""
        rows = await fetch(
            f"SELECT * FROM documents WHERE id = $1 AND {within('collection', '$2')} FOR NO KEY UPDATE",
            document_id,
            reach.names(),
        )
        return cls._init_from_db(**rows[0]) if rows else None

    async def amend(self, patch: Mapping[str, Any], *, check: Callable[[Mapping[str, Any]], None]) -> Self:
        """Change `title` and `metadata`, in any status, inside the transaction that has `locked` this.

        Args:
            patch: A merge patch of the two. What searches cite is patched as well, so that it counts from the
                commit on: while an update is under way, that is another version than the row's.
            check: Raises when metadata are not as they have to be.
        """
        said = {**EMPTY} | merged({"title": self.title, "metadata": self.metadata}, patch)
        cited = None if self.cited is None else {**EMPTY} | merged(self.cited, patch)
        for result in (said, cited):
            if result is not None:
                check(result["metadata"])
        rows = await fetch(
            """
            UPDATE documents SET title = $2, metadata = $3::jsonb, cited = $4::jsonb,
                patched_title = $5, patched_metadata = $6, updated_at = now()
            WHERE id = $1 RETURNING *
            """,
            self.id,
            said["title"],
            json.dumps(said["metadata"]),
            None if cited is None else json.dumps(cited),
            # What was removed comes from the next version again.
            patch["title"] is not None if "title" in patch else self.patched_title,
            patch["metadata"] is not None if "metadata" in patch else self.patched_metadata,
        )
        if cited is not None and cited["title"] != (self.cited or {}).get("title"):
            await chunk_words.retitle(self.id)
        return self._init_from_db(**rows[0])

    @classmethod
    async def remove(cls, document_id: UUID, reach: Reach) -> Self | None:
        """Delete the document with its chunks and its content.

        Returns:
            The row as it was; None when there is none within reach.
        """
        rows = await fetch(
            f"""
            WITH removed AS (
                DELETE FROM documents WHERE id = $1 AND {within("collection", "$2")} RETURNING *
            ), changed AS (
                INSERT INTO chunk_changes (collection_id, chunks)
                SELECT n.id, -chunk_count FROM removed JOIN collections AS n ON n.name = collection
                WHERE chunk_count > 0
            )
            SELECT * FROM removed
            """,
            document_id,
            reach.names(),
        )
        return cls._init_from_db(**rows[0]) if rows else None

    # --- how it is done -------------------------------------------------------------------------------------

    @staticmethod
    async def _lock(document_id: UUID, db: Any) -> None:
        """Wait until nobody else moves the document.

        A statement that waits for a row sees it as it is then, but all else as it was before it began to
        wait: not the attempt, for one, that a claim has written meanwhile, and that it is to end.
        """
        await fetch("SELECT FROM documents WHERE id = $1 FOR NO KEY UPDATE", document_id, db=db)

    @property
    def is_final(self) -> bool:
        return self.status in {DocumentStatus.COMPLETED, DocumentStatus.FAILED}

    @classmethod
    async def _move(
        cls,
        move: Move,
        document_id: UUID,
        changes: str,
        *values: object,
        attempt: int | None = None,
        version: int | None = None,
        guard: str = "TRUE",
        ending: Ending | None = None,
        also: str = "SELECT",
        db: Any = None,
    ) -> Self | None:
        """Enter `move.target` if the row is where the move may start; None means somebody else was first.

        Args:
            changes: More columns to set; `$1`, `$2`, … are `values`.
            attempt: The fence: the row must still have it.
            version: Likewise.
            guard: A further condition.
            ending: What is known of the attempt that ends with this move.
            also: One more statement, in the same one; it sees the document's row as `moved`.
            db: The transaction to take part in; else a statement of its own.
        """
        n = len(values)
        noted = "SELECT"
        if move is CLAIM:
            noted = BEGUN
        elif move.outcome is not None:
            noted = ended(
                move.outcome,
                stage=f"${n + 5}::text",
                seconds=f"COALESCE(${n + 6}::jsonb, '{{}}')",
                error=f"${n + 7}::jsonb",
            )
        rows = await fetch(
            f"""
            WITH moved AS (
                UPDATE documents
                SET status = '{move.target}', updated_at = now(), {ON_ENTERING[move.target]}, {changes}
                WHERE id = ${n + 1} AND status = ANY(${n + 2}::text[]) AND ({guard})
                    AND attempt = COALESCE(${n + 3}::int, attempt)
                    AND version = COALESCE(${n + 4}::int, version)
                RETURNING *
            ), noted AS ({noted}), also AS ({also})
            SELECT * FROM moved
            """,
            *values,
            document_id,
            sorted(move.sources),
            attempt,
            version,
            *(() if move.outcome is None else (ending or Ending()).values()),
            db=db,
        )
        return cls._init_from_db(**rows[0]) if rows else None


class Ending(NamedTuple):
    """What its worker knows of an attempt that ends."""

    stage: str | None = None
    stage_seconds: Mapping[str, float] | None = None
    error: Mapping[str, Any] | None = None

    def values(self) -> tuple[str | None, str | None, str | None]:
        """As parameters of a statement."""
        return (
            self.stage,
            None if self.stage_seconds is None else json.dumps(self.stage_seconds),
            None if self.error is None else json.dumps(self.error),
        )


# Tortoise takes the fields off the class. They are put back for whoever looks there, by `hasattr` for one,
# as type checkers see them; an instance always has a value of its own.
for _name in Document._meta.fields_db_projection:
    if not hasattr(Document, _name):
        setattr(Document, _name, Document._meta.fields_map[_name])
