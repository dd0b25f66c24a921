"""Vectors of a new model for the chunks of a collection, beside the old ones, and the swap at the end.

A document says which space its chunks have vectors in last (`documents.space_id`), so the work is found,
shared and counted by documents. Whoever takes some gets a lease, as with an import; it keeps others from
doing the same again, and is no fence: a vector that is written twice is the same vector.

What writes here holds the collection's settings lock (`Collection.stored_into`), so that nobody changes its
spaces in the middle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from pgvector import HalfVector

from app.models.collection import CLEANING_LOCK, SETTINGS_LOCK, Collection
from app.models.sql import fetch, transaction

#: How long who wants to store chunks may be kept waiting by a swap that waits for who stores some.
SWAP_LOCK_TIMEOUT = "1s"


class Mark(NamedTuple):
    """A place in the list of a collection's documents, oldest first."""

    created_at: datetime
    document_id: UUID


#: Before all documents.
START = Mark(datetime(1970, 1, 1, tzinfo=UTC), UUID(int=0))


class Text(NamedTuple):
    """A chunk that needs a vector."""

    chunk_id: int
    document_id: UUID
    ordinal: int
    text: str


async def collections_to_embed() -> list[Collection]:
    """Those that are on their way to another model, longest first."""
    return await Collection.filter(next_space_id__isnull=False, deleting_at__isnull=True).order_by(
        "reembedding_since"
    )


async def claim(collection: Collection, after: Mark, *, limit: int, lease_s: float) -> list[Mark]:
    """Take some documents behind `after` in hand that nobody else has; none at the end of the list."""
    rows = await fetch(
        """
        UPDATE documents SET reembed_lease_expires_at = now() + make_interval(secs => $5)
        WHERE id IN (
            SELECT id FROM documents
            WHERE collection || '' = $1 AND (created_at, id) > ($3, $4) AND chunk_count > 0
                AND space_id IS DISTINCT FROM $2
                AND (reembed_lease_expires_at IS NULL OR reembed_lease_expires_at < now())
            ORDER BY created_at, id LIMIT $6 FOR NO KEY UPDATE SKIP LOCKED
        ) RETURNING created_at, id
        """,
        collection.name,
        collection.next_space_id,
        *after,
        lease_s,
        limit,
    )
    return sorted(Mark(row["created_at"], row["id"]) for row in rows)


async def texts_to_embed(
    document_ids: Sequence[UUID], space_id: int, after: Text | None, *, limit: int
) -> list[Text]:
    """Chunks of these documents behind `after` that have no vector in the space."""
    rows = await fetch(
        """
        SELECT c.id AS chunk_id, c.document_id, c.ordinal, c.text FROM chunks AS c
        WHERE c.document_id = ANY($1::uuid[]) AND (c.document_id, c.ordinal) > ($3::uuid, $4)
            AND NOT EXISTS (SELECT FROM chunk_vectors WHERE chunk_id = c.id AND space_id = $2)
        ORDER BY c.document_id, c.ordinal LIMIT $5
        """,
        list(document_ids),
        space_id,
        UUID(int=0) if after is None else after.document_id,
        -1 if after is None else after.ordinal,
        limit,
    )
    return [Text(**row) for row in rows]


async def keep(
    collection: Collection, texts: Sequence[Text], vectors: NDArray[np.float16], *, lease_s: float
) -> bool:
    """Write vectors down, and renew the leases; False when the collection does not go there any more."""
    async with transaction() as db:
        if not await _is_on_its_way(collection, db):
            return False
        held = await _locked({text.document_id for text in texts}, db)
        await fetch(
            """
            WITH renewed AS (
                UPDATE documents SET reembed_lease_expires_at = now() + make_interval(secs => $5)
                WHERE id = ANY($4::uuid[])
            )
            INSERT INTO chunk_vectors (chunk_id, space_id, document_id, embedding)
            SELECT c.id, $1, c.document_id, new.embedding
            FROM unnest($2::bigint[], $3::halfvec[]) AS new (chunk_id, embedding)
                JOIN chunks AS c ON c.id = new.chunk_id
            WHERE c.document_id = ANY($4::uuid[])
            ON CONFLICT DO NOTHING RETURNING chunk_id
            """,
            collection.next_space_id,
            [text.chunk_id for text in texts],
            [HalfVector(vector) for vector in vectors],
            held,
            lease_s,
            db=db,
        )
        return True


async def finish(collection: Collection, document_ids: Sequence[UUID], warnings: Mapping[UUID, str]) -> None:
    """Give documents back; those whose chunks all have a vector are in the new space."""
    async with transaction() as db:
        is_on_its_way = await _is_on_its_way(collection, db)
        held = await _locked(document_ids, db)
        await fetch(
            """
            WITH done AS (
                SELECT asked.* FROM unnest($1::uuid[], $2::text[]) AS asked (id, warning)
                WHERE $4::bool AND NOT EXISTS (
                    SELECT FROM chunks AS c WHERE c.document_id = asked.id AND NOT EXISTS (
                        SELECT FROM chunk_vectors WHERE chunk_id = c.id AND space_id = $3
                    )
                )
            )
            UPDATE documents AS d SET reembed_lease_expires_at = NULL,
                space_id = CASE WHEN done.id IS NULL THEN space_id ELSE $3 END,
                warnings = CASE WHEN done.warning IS NULL THEN warnings
                    ELSE warnings || jsonb_build_array(done.warning) END
            FROM unnest($1::uuid[]) AS held (id) LEFT JOIN done USING (id) WHERE d.id = held.id
            """,
            held,
            [warnings.get(document_id) for document_id in held],
            collection.next_space_id,
            is_on_its_way,
            db=db,
        )


async def swap(collection: Collection) -> bool:
    """Search by the new vectors, if all are there: from the commit on, and all at once."""
    async with transaction() as db:
        await fetch("SELECT set_config('lock_timeout', $1, TRUE)", SWAP_LOCK_TIMEOUT, db=db)
        await fetch("SELECT pg_advisory_xact_lock($1, $2)", SETTINGS_LOCK, collection.id, db=db)
        rows = await fetch(
            """
            UPDATE collections AS n SET space_id = next_space_id, next_space_id = NULL,
                reembedding_since = NULL, reembedding_error = NULL, stale_vectors_since = now()
            WHERE id = $1 AND next_space_id = $2 AND NOT EXISTS (
                SELECT FROM documents WHERE collection = n.name AND chunk_count > 0
                    AND space_id IS DISTINCT FROM $2
            ) RETURNING id
            """,
            collection.id,
            collection.next_space_id,
            db=db,
        )
    return bool(rows)


async def note(collection: Collection, error: Mapping[str, Any] | None) -> None:
    """Say why a collection does not get on, or that it does again."""
    await Collection.filter(id=collection.id, next_space_id=collection.next_space_id).update(
        reembedding_error=error
    )


async def collections_to_clean(*, older_than_s: float) -> list[Collection]:
    """Those with vectors of a space that they have left; not before the last search by them has ended."""
    rows = await fetch(
        "SELECT * FROM collections WHERE stale_vectors_since < now() - make_interval(secs => $1)",
        older_than_s,
    )
    return [Collection._init_from_db(**row) for row in rows]


async def remove_stale_vectors(collection: Collection, after: Mark, *, limit: int) -> Mark | None:
    """Remove those of some documents behind `after`.

    Returns:
        The last of these documents; None when there are no more, or another process is at it.
    """
    async with transaction() as db:
        now = await Collection.stored_into(collection.name, db)
        (lock,) = await fetch(
            "SELECT pg_try_advisory_xact_lock($1, $2) AS mine", CLEANING_LOCK, collection.id, db=db
        )
        if not lock["mine"]:
            return None
        rows = await fetch(
            """
            WITH page AS (
                SELECT id, created_at FROM documents
                WHERE collection || '' = $1 AND (created_at, id) > ($2, $3) AND chunk_count > 0
                ORDER BY created_at, id LIMIT $4
            ), gone AS (
                DELETE FROM chunk_vectors AS v USING page
                WHERE v.document_id = page.id AND v.space_id <> ALL($5::smallint[])
            ), back AS (
                UPDATE documents AS d SET space_id = $6 FROM page
                WHERE d.id = page.id AND d.space_id <> ALL($5::smallint[])
            )
            SELECT created_at, id FROM page ORDER BY created_at DESC, id DESC LIMIT 1
            """,
            now.name,
            *after,
            limit,
            [space for space in (now.space_id, now.next_space_id) if space is not None],
            now.space_id,
            db=db,
        )
        if rows:
            return Mark(rows[0]["created_at"], rows[0]["id"])
        await fetch(
            "UPDATE collections SET stale_vectors_since = NULL WHERE id = $1 AND stale_vectors_since = $2",
            collection.id,
            collection.stale_vectors_since,
            db=db,
        )
    return None


async def _locked(document_ids: Iterable[UUID], db: Any) -> list[UUID]:
    """Those of the documents that nobody is changing just now, and nobody will before the transaction ends.

    A statement of its own: the next one sees their chunks as they are from here on. Those that are left out
    are about to have other chunks, or to go.
    """
    rows = await fetch(
        "SELECT id FROM documents WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED",
        list(document_ids),
        db=db,
    )
    return [row["id"] for row in rows]


async def _is_on_its_way(collection: Collection, db: Any) -> bool:
    now = await Collection.stored_into(collection.name, db)
    return bool(now.next_space_id == collection.next_space_id)
