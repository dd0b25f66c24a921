"""How a document begins: it is made durable, or found to be there already.

All that comes from outside ends here, one at a time or many in one statement; that it is the same document is
for the unique indexes to say, so that nobody has to wait for anybody to find out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from app.errors import CollectionDeleting
from app.models import uploads
from app.models.document import Document, first_message
from app.models.document_status import DocumentStatus
from app.models.sql import fetch, transaction
from app.models.turns import next_turn

#: How long those who are accepted together may wait for a row that one of them would replace: it is locked
#: while its chunks are stored, which may take minutes.
IMPATIENTLY = "100ms"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDocument:
    """What `accept` needs to know. Exactly one of `content` and `content_key` is set."""

    sha256: str  # Of the content, in hexadecimal.
    size_bytes: int
    media_type: str
    content: bytes | None = None
    content_key: str | None = None
    is_noted: bool = False  # The key is in `uploads`, until a document names it.
    collection: str = "default"
    external_id: str | None = None
    title: str | None = None
    source_name: str | None = None
    metadata: Mapping[str, Any] | None = None

    @property
    def identity(self) -> tuple[str, str | None, str | None]:
        """Equal for what is the same document."""
        return self.collection, self.external_id, self.sha256 if self.external_id is None else None


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of a document that was offered."""

    document_id: UUID
    status: DocumentStatus
    created: bool  # A new document, or a new version of one.
    queued: bool  # Somebody has to ring the doorbell.
    unused_key: str | None = None  # Stored content that no row points to any more.
    version: int = 1  # When it was created.

    @property
    def message_id(self) -> str | None:
        """What the message about a new version is called; None when it is none."""
        return first_message(self.document_id, self.version) if self.created and self.queued else None


async def accept(new: NewDocument) -> Accepted:
    """Make the document durable, or find the one that it is already.

    With no `external_id` a document is its `(collection, sha256)`, else its `(collection, external_id)`.
    The same again changes nothing, except that a FAILED one is queued again; a known `external_id` with
    other content becomes that document's next version. A hundred equal calls at once make one row.

    Raises:
        CollectionDeleting: Its collection is on its way out.
        UploadForgotten: Its content, stored long ago, may be gone; nothing was written.
    """
    if not new.is_noted:
        return await _accept(new)
    async with transaction():  # The document names the content, and the note of it ends; or neither.
        accepted = await _accept(new)
        if accepted.unused_key != new.content_key:
            await uploads.end(str(new.content_key))
        return accepted


async def _accept(new: NewDocument) -> Accepted:
    while True:
        if accepted := await _insert(new):
            return accepted
        if known := await _find(new):
            accepted = await _meet(known, new)
            if accepted is not None:
                return accepted
        # It was deleted, or changed by someone else, between our two looks: look again.


async def accept_many(many: Sequence[NewDocument]) -> list[Accepted | None]:
    """`accept` for as many as can be had in two statements: what is new, and what is known unchanged.

    Returns:
        In the order of `many`; None for one that `accept` itself has to look at, after these: an update,
        a FAILED one, one that somebody else is making just now, or the same twice among these.
    """
    result: list[Accepted | None] = [None] * len(many)
    # Of each, its first; in their order, which is that of their turns.
    left = sorted({new.identity: n for n, new in reversed(list(enumerate(many)))}.values())
    async with transaction() as db:
        # A first import fills an empty table faster than anybody counts it: a plan that was made for it
        # then would read all of it for each document.
        await fetch(
            "SELECT set_config('plan_cache_mode', 'force_custom_plan', TRUE),"
            " set_config('enable_seqscan', 'off', TRUE)",
            db=db,
        )
        for look in (_unchanged, _insert_many) if many else ():
            for n, accepted in zip(left, await look([many[n] for n in left], db), strict=True):
                result[n] = accepted
            left = [n for n in left if result[n] is None]
    return result


async def accept_new(many: Sequence[NewDocument]) -> list[Accepted | None]:
    """`accept` for those that are new, in one statement that waits for nobody.

    Returns:
        In the order of `many`; None for one that `accept` itself has to look at.

    Raises:
        tortoise.exceptions.OperationalError: One of them is locked by somebody else; none was written.
    """
    return await _insert_many(many, None, lock_timeout=IMPATIENTLY)


async def _unchanged(many: Sequence[NewDocument], db: Any) -> list[Accepted | None]:
    rows = await fetch(
        """
        WITH asked AS (
            SELECT * FROM unnest($1::text[], $2::text[], $3::text[])
                WITH ORDINALITY AS a (collection, external_id, sha256, n)
            WHERE NOT EXISTS (
                SELECT FROM collections WHERE name = a.collection AND deleting_at IS NOT NULL
            )
        )
        -- LIMIT has each looked up by itself: while statistics are old, a join compares all with all.
        SELECT n - 1 AS position, d.id, d.status FROM asked AS a, LATERAL (
            SELECT id, status FROM documents
            WHERE collection = a.collection AND sha256 = a.sha256 AND external_id IS NULL LIMIT 1
        ) AS d WHERE a.external_id IS NULL AND d.status <> 'FAILED'
        UNION ALL
        SELECT n - 1, d.id, d.status FROM asked AS a, LATERAL (
            SELECT id, status, sha256 FROM documents
            WHERE collection = a.collection AND external_id = a.external_id LIMIT 1
        ) AS d WHERE d.sha256 = a.sha256 AND d.status <> 'FAILED'
        """,
        [new.collection for new in many],
        [new.external_id for new in many],
        [new.sha256 for new in many],
        db=db,
    )
    known: list[Accepted | None] = [None] * len(many)
    for row in rows:
        known[row["position"]] = Accepted(
            row["id"],
            DocumentStatus(row["status"]),
            created=False,
            queued=False,
            unused_key=many[row["position"]].content_key,
        )
    return known


async def _insert_many(
    many: Sequence[NewDocument], db: Any, *, lock_timeout: str | None = None
) -> list[Accepted | None]:
    """Each takes the place of its name in an index: in one order for all, or two batches could wait for
    each other."""
    ids = [uuid7() for _ in many]
    rows = await fetch(
        f"""
        WITH patience AS MATERIALIZED (
            SELECT set_config('lock_timeout', COALESCE($12, current_setting('lock_timeout')), TRUE)
        ), new AS MATERIALIZED (
            SELECT n.* FROM patience, unnest(
                $1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                $8::bigint[], $9::text[], $10::text[], $11::bytea[]
            ) AS n (id, collection, external_id, title, source_name, media_type, sha256,
                    size_bytes, content_key, metadata, content)
        ), named AS (
            INSERT INTO collections (name)
            SELECT DISTINCT collection FROM new
            WHERE NOT EXISTS (SELECT FROM collections WHERE name = new.collection)
            ORDER BY collection
            ON CONFLICT DO NOTHING
        ), turns AS (
            SELECT collection, {next_turn("c.collection")} AS first
            FROM (SELECT DISTINCT collection FROM new) AS c
        ), accepted AS (
            INSERT INTO documents (id, collection, external_id, title, source_name, media_type, sha256,
                                   size_bytes, content_key, metadata, turn)
            SELECT id, collection, external_id, title, source_name, media_type, sha256,
                size_bytes, content_key, metadata::jsonb,
                first - 1 + row_number() OVER (PARTITION BY collection ORDER BY id)
            FROM new JOIN turns USING (collection) WHERE NOT EXISTS (
                SELECT FROM collections WHERE name = new.collection AND deleting_at IS NOT NULL
            ) ORDER BY collection, external_id, sha256
            ON CONFLICT DO NOTHING RETURNING id
        ), stored AS (
            INSERT INTO document_contents (document_id, content)
            SELECT id, content FROM accepted JOIN new USING (id) WHERE content IS NOT NULL
        )
        SELECT id FROM accepted
        """,
        ids,
        [new.collection for new in many],
        [new.external_id for new in many],
        [new.title for new in many],
        [new.source_name for new in many],
        [new.media_type for new in many],
        [new.sha256 for new in many],
        [new.size_bytes for new in many],
        [new.content_key for new in many],
        [json.dumps(new.metadata or {}) for new in many],
        [new.content for new in many],
        lock_timeout,
        db=db,
    )
    made = {row["id"] for row in rows}
    return [
        Accepted(id_, DocumentStatus.PENDING, created=True, queued=True) if id_ in made else None
        for id_ in ids
    ]


async def _insert(new: NewDocument) -> Accepted | None:
    rows = await fetch(
        f"""
        WITH named AS (
            INSERT INTO collections (name)
            SELECT $2::varchar WHERE NOT EXISTS (SELECT FROM collections WHERE name = $2::varchar)
            ON CONFLICT DO NOTHING
        ), accepted AS (
            INSERT INTO documents (id, collection, external_id, title, source_name, media_type, sha256,
                                   size_bytes, content_key, metadata, turn)
            SELECT $1, $2::varchar, $3, $4, $5, $6, $7, $8, $9, $10::jsonb, {next_turn("$2::varchar")}
            WHERE NOT EXISTS (
                SELECT FROM collections WHERE name = $2::varchar AND deleting_at IS NOT NULL
            )
            ON CONFLICT DO NOTHING RETURNING id
        ), stored AS (
            INSERT INTO document_contents (document_id, content)
            SELECT id, $11::bytea FROM accepted WHERE $11::bytea IS NOT NULL
        )
        SELECT (SELECT id FROM accepted) AS id, EXISTS (
            SELECT FROM collections WHERE name = $2::varchar AND deleting_at IS NOT NULL
        ) AS is_deleting
        """,
        uuid7(),
        new.collection,
        new.external_id,
        new.title,
        new.source_name,
        new.media_type,
        new.sha256,
        new.size_bytes,
        new.content_key,
        json.dumps(new.metadata or {}),
        new.content,
    )
    if rows[0]["is_deleting"]:
        raise CollectionDeleting(new.collection)
    if rows[0]["id"] is None:
        return None
    return Accepted(rows[0]["id"], DocumentStatus.PENDING, created=True, queued=True)


async def _find(new: NewDocument) -> Document | None:
    if new.external_id is None:
        return await Document.get_or_none(
            collection=new.collection, sha256=new.sha256, external_id__isnull=True
        )
    return await Document.get_or_none(collection=new.collection, external_id=new.external_id)


async def _meet(known: Document, new: NewDocument) -> Accepted | None:
    if known.sha256 != new.sha256:
        renewed = await known.renew(new)
        if renewed is None:
            return None
        return Accepted(
            known.id,
            DocumentStatus.PENDING,
            created=True,
            queued=True,
            unused_key=known.content_key,
            version=renewed.version,
        )
    is_queued = known.status == DocumentStatus.FAILED
    if is_queued and not await Document.retry(known.id):
        return None
    status = DocumentStatus.PENDING if is_queued else DocumentStatus(known.status)
    return Accepted(known.id, status, created=False, queued=is_queued, unused_key=new.content_key)
