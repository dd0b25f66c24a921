"""Moves of many documents at once: what the reconciler and bulk steering do.

Each takes so many rows at the most and passes over those that somebody else has locked, so that any number of
processes may call it at the same time.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from app.errors import WorkerLost
from app.models.attempt import BEGUN, ended
from app.models.completion import WRITER
from app.models.document import LEASED, MAX_FAILURES, UNSENT, Document
from app.models.document_status import CLAIM, NO_LEASE, ON_ENTERING, DocumentStatus, Outcome
from app.models.reach import Reach, within
from app.models.sql import fetch
from app.models.told_error import told
from app.models.turns import QUEUED, next_turn

#: When a message counts as lost: after so long; twice as long with each one that was added, up to the other.
LATE_AFTER_S = 15
LATE_AT_MOST_S = 60


#: What a worker leaves to others of each that it takes in company: at the end of an import, whoever took all
#: that was left would work on while the others have nothing to do.
LEFT_TO_OTHERS = 3

#: How many larger ones a small document may overtake at the most.
OVERTAKEN = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedFilter:
    """Which FAILED documents are meant; what is None does not matter."""

    document_ids: Sequence[UUID] | None = None
    collection: str | None = None
    codes: Sequence[str] | None = None  # Of their errors.
    failed_after: datetime | None = None
    failed_before: datetime | None = None


async def reap(*, limit: int, backoff_s: float) -> list[UUID]:
    """Take back documents whose worker died, or end them FAILED when the failures are used up.

    A death counts as a failure, so that a file that kills its worker ends FAILED instead of killing the next
    one for ever. After the first one a document is due at once. Later, what died together comes back at
    different times, at random within `backoff_s * 2**failures`: what was merely beside such a file shall not
    be beside it six times.
    """
    lost = told(WorkerLost(), stage=None)
    exhausted = f"failures + 1 >= {MAX_FAILURES}"
    staged = "$1::jsonb || jsonb_build_object('stage', {}stage)"
    rows = await fetch(
        f"""
        WITH moved AS (
            UPDATE documents SET
                status = CASE WHEN {exhausted} THEN 'FAILED' ELSE 'PENDING' END,
                error = CASE WHEN {exhausted} THEN {staged.format("")} END,
                stage = CASE WHEN {exhausted} THEN NULL WHEN failures = 0 THEN 'queued' ELSE 'retry_wait' END,
                processing_errors = concat_ws(
                    E'\\n', processing_errors, format('attempt %s, %s: %s', attempt, stage, $2::text)
                ),
                failures = failures + 1, sent_at = {UNSENT}, sends = 0,
                next_attempt_at = now() + make_interval(
                    secs => CASE WHEN failures = 0 THEN 0 ELSE random() * $4 * 2.0 ^ failures END
                ),
                updated_at = now(), {NO_LEASE}
            WHERE id IN (
                SELECT id FROM documents WHERE status = 'PROCESSING' AND lease_expires_at < now()
                ORDER BY lease_expires_at LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED
            )
            RETURNING id
        ), noted AS ({ended(Outcome.WORKER_LOST, error=staged.format("was."))})
        SELECT id FROM moved
        """,
        json.dumps(lost),
        f"{lost['code']}: {lost['message']}",
        limit,
        backoff_s,
    )
    return [row["id"] for row in rows]


async def end_silent_writers(*, silent_s: float) -> int:
    """End connections that store for a worker whose leases ran out, and that it sends nothing on; how many.

    PostgreSQL's own timeouts do not end a COPY that waits for its client: a worker that was stopped in the
    middle of one would keep the document from everybody until somebody kills it. One that is alive sends on:
    its statements are short (Chunk.store), however long all of them take together.
    """
    rows = await fetch(
        """
        SELECT pg_terminate_backend(pid, 1000) -- Waits until it is gone, so that its rows can be reaped.
        FROM (
            SELECT DISTINCT a.pid FROM documents AS d
                JOIN pg_stat_activity AS a ON a.application_name = $2 || md5(d.lease_owner)
            WHERE d.status = 'PROCESSING' AND d.lease_expires_at < now() AND a.wait_event = 'ClientRead'
                AND a.query_start < now() - make_interval(secs => $1)
        ) AS silent
        """,
        silent_s,
        WRITER,
    )
    return len(rows)


async def take_unsent(*, limit: int, emptied_at: datetime, late_too: bool) -> list[UUID]:
    """Documents that are due and have no message, oldest first; they are noted as sent now.

    Args:
        limit: So many at the most.
        emptied_at: Since when the queue has been what it is; messages from before are gone.
        late_too: Also those whose message should have been worked on by now.
    """
    # A moment that is still to come says nothing: a clock was set back, or another server's is slower.
    gone = f"CASE WHEN $2 > now() THEN {UNSENT} ELSE $2 END"
    rows = await fetch(
        f"""
        UPDATE documents SET sent_at = now(), sends = sends + 1
        WHERE id IN (
            SELECT id FROM documents
            WHERE status = 'PENDING' AND next_attempt_at <= now()
                -- The first line is for the index, with the least of the times; the rest says which of those.
                AND sent_at <= GREATEST({gone}, CASE WHEN $3 THEN now() - interval '{LATE_AFTER_S} s' END)
                AND (sent_at <= {gone} OR $3 AND sent_at <= now() - make_interval(
                    secs => LEAST({LATE_AFTER_S} * 2.0 ^ LEAST(sends - 1, 8), {LATE_AT_MOST_S})
                ))
            ORDER BY sent_at, id LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED
        )
        RETURNING id
        """,
        limit,
        emptied_at,
        late_too,
    )
    return sorted(row["id"] for row in rows)


async def put_back_unsent(document_ids: Sequence[UUID]) -> None:
    """The send failed: let the next sweep try again."""
    await fetch(
        f"UPDATE documents SET sent_at = {UNSENT}, sends = GREATEST(sends - 1, 0)"
        " WHERE id = ANY($1) AND status = 'PENDING' RETURNING id",
        list(document_ids),
    )


async def now() -> datetime:
    """By the database's clock, which is everybody's."""
    rows = await fetch("SELECT now()")
    return rows[0]["now"]  # type: ignore[no-any-return]


async def claim_next(document_id: UUID, *, owner: str, lease_s: float) -> Document | None:
    """Take in hand the document whose message came, or whichever ought to come before it.

    A message is a permit to work on one document: what is done for another is made good by that one's own
    message, which finds its document gone. So as many are worked on as have been sent, in the order of turns.
    """
    return (
        await Document.claim(document_id, owner=owner, lease_s=lease_s, if_nearly_first=True)
        or await claim_due(owner=owner, lease_s=lease_s)
        # All who ought to come before are being taken just now.
        or await Document.claim(document_id, owner=owner, lease_s=lease_s)
    )


async def claim_due(*, owner: str, lease_s: float) -> Document | None:
    """Take in hand whichever document is due first; None when none is.

    One that waited for its next attempt had its turn before.
    """
    claimed = await _claim(
        f"""
        waiting AS (
            SELECT id FROM documents
            WHERE status = 'PENDING' AND stage = 'retry_wait' AND next_attempt_at <= now()
            ORDER BY next_attempt_at LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED
        ), queued AS (
            SELECT id FROM documents AS q
            WHERE NOT EXISTS (SELECT FROM waiting) AND {QUEUED} AND next_attempt_at <= now()
            ORDER BY turn, id LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED
        ), next AS (SELECT id FROM waiting UNION ALL SELECT id FROM queued)
        """,
        limit=1,
        owner=owner,
        lease_s=lease_s,
    )
    return claimed[0] if claimed else None


async def claim_small(*, owner: str, lease_s: float) -> Document | None:
    """Take in hand the first document whose content is small; None when none of the first few is due."""
    claimed = await _claim(
        f"""
        following AS (
            SELECT id, content_key FROM documents AS q WHERE {QUEUED} AND next_attempt_at <= now()
            ORDER BY turn, id LIMIT {OVERTAKEN} FOR NO KEY UPDATE SKIP LOCKED
        ), next AS (SELECT id FROM following WHERE content_key IS NULL LIMIT $3)
        """,
        limit=1,
        owner=owner,
        lease_s=lease_s,
    )
    return claimed[0] if claimed else None


async def claim_company(*, limit: int, owner: str, lease_s: float) -> list[Document]:
    """Take in hand those of the next documents in the order of turns that are small and never failed.

    What has killed a worker, or may have, is not to be in hand beside others more often than it must.

    Args:
        limit: So many at the most, and no more than a share of the queue (`LEFT_TO_OTHERS`).
        owner, lease_s: As of any claim.
    """
    due = f"{QUEUED} AND next_attempt_at <= now()"
    parts = 1 + LEFT_TO_OTHERS
    return await _claim(
        f"""
        share AS (
            -- In the order of turns only so that the index on them is read, and not the table.
            SELECT count(*) / {parts} AS documents
            FROM (SELECT FROM documents AS q WHERE {due} ORDER BY turn, id LIMIT $3 * {parts}) AS q
        ), following AS (
            SELECT id, content_key, failures FROM documents AS q WHERE {due}
            ORDER BY turn, id LIMIT (SELECT documents FROM share) FOR NO KEY UPDATE SKIP LOCKED
        ), next AS (SELECT id FROM following WHERE content_key IS NULL AND failures = 0)
        """,
        limit=limit,
        owner=owner,
        lease_s=lease_s,
    )


async def _claim(next_ones: str, *, limit: int, owner: str, lease_s: float) -> list[Document]:
    """Take documents in hand that nobody else can have meanwhile.

    Args:
        next_ones: Parts of a WITH, up to `next`: the ids, of rows that it has locked. $3 is the limit.
    """
    rows = await fetch(
        f"""
        WITH {next_ones}, moved AS (
            UPDATE documents SET status = '{CLAIM.target}', updated_at = now(), {ON_ENTERING[CLAIM.target]},
                {LEASED}
            FROM next WHERE documents.id = next.id
            RETURNING documents.*
        ), noted AS ({BEGUN})
        SELECT * FROM moved
        """,
        owner,
        lease_s,
        limit,
    )
    return [Document._init_from_db(**row) for row in rows]


async def retry_failed(chosen: FailedFilter, reach: Reach, *, limit: int) -> int:
    """Queue FAILED documents within reach again, those that failed first first; how many those were."""
    rows = await fetch(
        f"""
        WITH chosen AS (
            SELECT id, collection, updated_at FROM documents
            WHERE status = 'FAILED' AND {within("collection", "$7")} AND ($1::uuid[] IS NULL OR id = ANY($1))
                AND ($2::text IS NULL OR collection = $2) AND ($3::text[] IS NULL OR error->>'code' = ANY($3))
                AND ($4::timestamptz IS NULL OR updated_at >= $4)
                AND ($5::timestamptz IS NULL OR updated_at < $5)
            ORDER BY updated_at LIMIT $6 FOR NO KEY UPDATE SKIP LOCKED
        ), firsts AS (
            SELECT collection, {next_turn("c.collection")} AS turn
            FROM (SELECT DISTINCT collection FROM chosen) AS c
        ), turns AS (
            SELECT id, turn - 1 + row_number() OVER (PARTITION BY collection ORDER BY updated_at) AS turn
            FROM chosen JOIN firsts USING (collection)
        )
        UPDATE documents SET
            status = 'PENDING', stage = 'queued', failures = 0, processing_errors = NULL,
            next_attempt_at = now(), sent_at = {UNSENT}, updated_at = now(), turn = turns.turn,
            {ON_ENTERING[DocumentStatus.PENDING]}
        FROM turns WHERE documents.id = turns.id
        RETURNING documents.id
        """,
        None if chosen.document_ids is None else list(chosen.document_ids),
        chosen.collection,
        None if chosen.codes is None else list(chosen.codes),
        chosen.failed_after,
        chosen.failed_before,
        limit,
        reach.names(),
    )
    return len(rows)
