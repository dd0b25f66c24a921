"""Finds documents by what their rows say, newest first, page by page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from app.models.document import Document
from app.models.document_status import DocumentStatus
from app.models.reach import Reach, sent_within
from app.models.sql import escaped, fetch


class Place(NamedTuple):
    """Just after this document. It stays put while others come, go and change."""

    created_at: datetime
    document_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentFilter:
    """Which documents are meant; what is None does not matter."""

    statuses: Sequence[DocumentStatus] | None = None
    collection: str | None = None
    external_id: str | None = None
    external_id_prefix: str | None = None
    media_type: str | None = None
    name_part: str | None = None  # Somewhere in title, source name or external id, in whatever case.
    created_after: datetime | None = None  # At this time, or later.
    created_before: datetime | None = None
    error_code: str | None = None  # Of a FAILED one.
    batch_id: UUID | None = None

    def conditions(self, reach: Reach) -> Iterator[tuple[str, tuple[object, ...]]]:
        """Those that are set, and that of the reach, as SQL with `{}` for each value, or `{0}` and so on.

        Only what is asked for is in the statement, and statuses are in it as they are: so the planner sees
        which index is best, also when it plans once for all values.
        """
        if self.statuses:
            listed = ", ".join(f"'{status}'" for status in sorted(set(self.statuses)))
            yield f"status IN ({listed})", ()
        names = reach.narrowed(None if self.collection is None else [self.collection])
        if names is not None:
            yield _of_collections(sorted(names))
        if self.external_id is not None:
            yield "external_id = {}", (self.external_id,)
        if self.external_id_prefix:
            # As the index on `text_pattern_ops` is sorted; LIKE would need to be planned for each value.
            yield "external_id ~>=~ {}", (self.external_id_prefix,)
            if (end := after_prefix(self.external_id_prefix)) is not None:
                yield "external_id ~<~ {}", (end,)
        if self.media_type is not None:
            yield "media_type = {}", (self.media_type,)
        if self.name_part:
            pattern = f"%{escaped(self.name_part)}%"
            yield (
                "(title ILIKE {} OR source_name ILIKE {} OR external_id ILIKE {})",
                (pattern, pattern, pattern),
            )
        if self.created_after is not None:
            yield "created_at >= {}", (self.created_after,)
        if self.created_before is not None:
            yield "created_at < {}", (self.created_before,)
        if self.error_code is not None:
            yield "status = 'FAILED' AND error->>'code' = {}", (self.error_code,)
        if self.batch_id is not None:
            # An array, looked up id by id: of a join, the planner thinks that any page finds some soon.
            batch = f"SELECT FROM batches WHERE id = {{0}} AND {sent_within('reach', '{1}')}"
            yield (
                "id = ANY (ARRAY("
                f"SELECT document_id FROM batch_items WHERE batch_id = {{0}} AND EXISTS ({batch})))",
                (self.batch_id, reach.names()),
            )


def _of_collections(names: Sequence[str]) -> tuple[str, tuple[object, ...]]:
    """A condition as `documents_by_collection` has it; that of a single one is in the index's own order."""
    if len(names) == 1:
        return "collection || '' = {}", (names[0],)
    return "collection || '' = ANY({}::text[])", (names,)


def statement(
    chosen: DocumentFilter, reach: Reach, *, after: Place | None, limit: int
) -> tuple[str, list[object]]:
    """The query, and its values."""
    conditions = list(chosen.conditions(reach))
    if after is not None:
        conditions.append(("(created_at, id) < ({}, {})", after))
    values: list[object] = []
    parts = ["collection NOT IN (SELECT name FROM collections WHERE deleting_at IS NOT NULL)"]
    for sql, given in conditions:
        parts.append(sql.format(*(f"${len(values) + n}" for n in range(1, len(given) + 1))))
        values.extend(given)
    values.append(limit)
    where = " AND ".join(parts)
    return (
        f"SELECT * FROM documents WHERE {where} ORDER BY created_at DESC, id DESC LIMIT ${len(values)}",
        values,
    )


async def listed(chosen: DocumentFilter, reach: Reach, *, after: Place | None, limit: int) -> list[Document]:
    """Documents within reach behind a place, newest first."""
    query, values = statement(chosen, reach, after=after, limit=limit)
    return [Document._init_from_db(**row) for row in await fetch(query, *values)]


async def media_types() -> list[str]:
    """All that there are, in their order: from one to the next through the index, however many documents."""
    rows = await fetch(
        """
        WITH RECURSIVE known AS (
            SELECT min(media_type) AS media_type FROM documents
            UNION ALL
            SELECT (SELECT min(media_type) FROM documents WHERE media_type > known.media_type)
            FROM known WHERE media_type IS NOT NULL
        ) SELECT media_type FROM known WHERE media_type IS NOT NULL ORDER BY media_type
        """
    )
    return [row["media_type"] for row in rows]


def after_prefix(prefix: str) -> str | None:
    """The first text, by its characters' numbers, behind all that begin so; None when nothing is behind."""
    while prefix:
        head, number = prefix[:-1], ord(prefix[-1])
        if number < 0x10FFFF:
            return head + chr(0xE000 if number == 0xD7FF else number + 1)  # Surrogates are no characters.
        prefix = head
    return None
