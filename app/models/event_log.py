"""The log of what happened to documents: triggers write it with each move, in the move's own transaction.

Numbers of a sequence come in the order of INSERTs, not of commits: whoever reads on after the highest number
misses what commits late. So every row has its transaction's id, and a place in the log is what PostgreSQL
calls a snapshot: which transactions had ended by then. What comes after a place is exactly what it does not
see, so that nothing is lost, nothing is told twice, and nobody waits for a slow transaction.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, Self
from uuid import UUID

from app.models.document_status import DocumentStatus
from app.models.reach import Reach, within
from app.models.sql import fetch

#: Rows of one look; what was written in one transaction is never cut, and may make it more.
PAGE = 1000

#: As many transactions as run at the same time on a large server, and more.
MOST_RUNNING = 5000

SNAPSHOT = re.compile(r"(\d{1,20}):(\d{1,20}):((?:\d{1,20}(?:,\d{1,20})*)?)", re.ASCII)

FINAL = frozenset({DocumentStatus.COMPLETED, DocumentStatus.FAILED})


class Run(Protocol):
    """Runs a statement: `fetch`, or that of a connection of its own."""

    def __call__(self, query: str, *values: object) -> Awaitable[Sequence[Mapping[str, Any]]]: ...


@dataclass(frozen=True, slots=True)
class Place:
    """Which transactions had ended: those before `end`, but for `running`."""

    end: int
    running: frozenset[int] = frozenset()

    @classmethod
    def parse(cls, text: str) -> Self:
        """A place as `str` has it, which is how PostgreSQL writes a snapshot.

        Raises:
            ValueError: It is none.
        """
        match = SNAPSHOT.fullmatch(text)
        if match is None or text.count(",") >= MOST_RUNNING:
            raise ValueError("no snapshot")
        begin, end = int(match[1]), int(match[2])
        running = [int(xid) for xid in match[3].split(",") if xid]
        if not 0 < begin <= end < 2**63 or sorted(set(running)) != running:
            raise ValueError("no snapshot")
        if running and not begin <= running[0] <= running[-1] < end:
            raise ValueError("no snapshot")
        return cls(end, frozenset(running))

    def __str__(self) -> str:
        return f"{self.begin}:{self.end}:{','.join(map(str, sorted(self.running)))}"

    @property
    def begin(self) -> int:
        """All transactions before this one had ended."""
        return min(self.running, default=self.end)

    def sees(self, xid: int) -> bool:
        """Whether this transaction had ended."""
        return xid < self.end and xid not in self.running

    def up_to(self, xid: int) -> Place:
        """As far as the transactions up to this one go."""
        return Place(xid + 1, frozenset(each for each in self.running if each <= xid))


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A document as a move left it; with no status, as it was when it was deleted."""

    xid: int
    id: int
    at: datetime
    document_id: UUID
    collection: str
    external_id: str | None
    title: str | None
    source_name: str | None
    version: int
    status: DocumentStatus | None
    stage: str | None
    attempt: int
    failures: int
    chunk_count: int
    progress_unit: str | None
    progress_done: int | None
    progress_total: int | None
    error: Mapping[str, Any] | None
    batches: frozenset[UUID] = frozenset()

    @property
    def is_final(self) -> bool:
        """Nothing more happens to it by itself."""
        return self.status is None or self.status in FINAL

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """From a row that has all these by their names."""
        status, error, batches = row["status"], row["error"], row["batches"]
        converted: dict[str, Any] = {
            "status": None if status is None else DocumentStatus(status),
            "error": None if error is None else json.loads(error),
            "batches": frozenset(batches or ()),
        }
        return cls(**{name: row[name] for name in cls.__slots__ if name not in converted}, **converted)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Whose events are wanted; what is None does not matter."""

    document_id: UUID | None = None
    collections: frozenset[str] | None = None
    statuses: frozenset[DocumentStatus] | None = None  # Deletions are told whatever these are.
    batch_id: UUID | None = None

    def wants(self, change: Change) -> bool:
        """Whether this is one of them."""
        return self.wants_of(change.document_id, change.collection, change.batches) and (
            self.statuses is None or change.status is None or change.status in self.statuses
        )

    def wants_of(self, document_id: UUID, collection: str, batches: frozenset[UUID]) -> bool:
        """Whether anything about this document is wanted."""
        return (
            (self.document_id is None or self.document_id == document_id)
            and (self.collections is None or collection in self.collections)
            and (self.batch_id is None or self.batch_id in batches)
        )


#: Columns of the log that a document has too, by the same names.
SHARED = """collection, external_id, title, source_name, version, status, stage, attempt, failures,
    chunk_count, progress_unit, progress_done, progress_total, error"""


async def here() -> Place:
    """The place of now."""
    rows = await fetch("SELECT pg_current_snapshot()::text AS place")
    return Place.parse(rows[0]["place"])


async def read(
    after: Place,
    *,
    until: Place | None = None,
    wanted: EventFilter | None = None,
    with_batches: bool = False,
    run: Run = fetch,
) -> tuple[list[Change], Place, bool]:
    """What happened after a place: a page of it, the moves of each document in their order.

    Args:
        after: The place.
        until: Leave out what this place does not see.
        wanted: Whose; statuses and batches are left for the caller to look at.
        with_batches: Say which batches the documents are in.
        run: What asks the database.

    Returns:
        The changes, the place that one is at with them, and whether more may follow at once.
    """
    rows = await run(
        f"""
        SELECT now.place::text, e.* FROM (SELECT pg_current_snapshot() AS place) AS now LEFT JOIN LATERAL (
            SELECT new.xid::text::bigint AS transaction, id, at, document_id, {SHARED},
                CASE WHEN $6 THEN ARRAY(
                    SELECT batch_id FROM batch_items WHERE document_id = new.document_id
                ) END AS batches
            FROM (
                SELECT * FROM document_events WHERE xid = ANY($1::text[]::xid8[])
                UNION ALL
                -- A dump that was restored brings numbers that are still to come.
                SELECT * FROM document_events
                WHERE xid >= $2::text::xid8 AND xid < pg_snapshot_xmax(pg_current_snapshot())
            ) AS new
            WHERE ($3::text IS NULL OR pg_visible_in_snapshot(xid, $3::text::pg_snapshot))
                AND ($4::uuid IS NULL OR document_id = $4) AND ($5::text[] IS NULL OR collection = ANY($5))
            ORDER BY xid FETCH FIRST ({PAGE}) ROWS WITH TIES
        ) AS e ON TRUE
        """,
        [str(xid) for xid in after.running],
        str(after.end),
        None if until is None else str(until),
        None if wanted is None else wanted.document_id,
        None if wanted is None or wanted.collections is None else list(wanted.collections),
        with_batches,
    )
    place = until or Place.parse(rows[0]["place"])
    changes = [Change.of({**row, "xid": row["transaction"]}) for row in rows if row["id"] is not None]
    has_more = len(changes) >= PAGE
    if has_more:
        place = place.up_to(max(change.xid for change in changes))
    return sorted(changes, key=lambda change: change.id), place, has_more


async def present(document_id: UUID, reach: Reach) -> tuple[Place, Change | None]:
    """How a document is, as if it had just become so, and the place at which it is; None if there is none
    within reach."""
    rows = await fetch(
        f"""
        SELECT now.place::text, d.* FROM (SELECT pg_current_snapshot() AS place) AS now LEFT JOIN (
            SELECT id AS document_id, 0 AS id, 0 AS xid, updated_at AS at, {SHARED}, NULL::uuid[] AS batches
            FROM documents WHERE id = $1 AND {within("collection", "$2")} AND collection NOT IN (
                SELECT name FROM collections WHERE deleting_at IS NOT NULL
            )
        ) AS d ON TRUE
        """,
        document_id,
        reach.names(),
    )
    found = None if rows[0]["document_id"] is None else Change.of(rows[0])
    return Place.parse(rows[0]["place"]), found


async def is_kept_after(place: Place) -> bool:
    """Whether all that happened after this place can still be read; False of another database's place."""
    rows = await fetch(
        """
        SELECT xid::text::bigint AS forgotten, pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS end
        FROM forgotten_events
        """
    )
    return rows[0]["forgotten"] < place.begin and place.end <= rows[0]["end"]  # type: ignore[no-any-return]


async def forget(*, older_than_s: float, limit: int) -> int:
    """Drop the oldest of what is older than this; how many those were."""
    rows = await fetch(
        """
        WITH oldest AS MATERIALIZED (
            SELECT ctid, at FROM document_events ORDER BY xid LIMIT $2
        ), forgotten AS (
            DELETE FROM document_events WHERE ctid = ANY(ARRAY(
                SELECT ctid FROM oldest WHERE at < now() - make_interval(secs => $1)
            )) RETURNING xid
        ), noted AS (
            UPDATE forgotten_events SET xid = GREATEST(
                xid, (SELECT xid FROM forgotten ORDER BY xid DESC LIMIT 1) -- Null: none was forgotten.
            )
        )
        SELECT count(*) AS rows FROM forgotten
        """,
        older_than_s,
        limit,
    )
    return rows[0]["rows"]  # type: ignore[no-any-return]


async def forget_another_life() -> None:
    """Drop what a restored dump brought: its transactions' numbers are yet to come in this database."""
    await fetch(
        "DELETE FROM document_events WHERE xid >= pg_snapshot_xmax(pg_current_snapshot()) RETURNING id"
    )
