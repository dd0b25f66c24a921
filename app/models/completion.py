"""The end of attempts that went well: chunks and COMPLETED in one transaction, for several documents at once.

A commit costs the same for one small document as for twenty, and so do the round trips before it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from app.errors import ModelChanged
from app.models import chunk_words
from app.models.attempt import ended
from app.models.chunk import Chunk, NewChunks, Stored
from app.models.collection import Collection
from app.models.document_status import COMPLETE, ON_ENTERING, Outcome
from app.models.sql import fetch, transaction

if TYPE_CHECKING:
    from app.models.document import Document

#: Begins the name of a connection that stores documents; what tells their worker follows.
WRITER = "sluice stores "

#: That nobody has claimed the row since.
FENCE = "d.attempt = done.attempt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingested:
    """What a worker made of a document's content."""

    media_type: str
    title: str | None
    warnings: Sequence[str]
    chunks: NewChunks
    space_id: int  # Of the vectors.


class Done(NamedTuple):
    """A document as it was claimed, and what came of it."""

    document: Document
    ingested: Ingested


async def complete(done: Sequence[Done]) -> list[bool]:
    """Store the chunks and finish, all or none; False for a document whose lease was lost.

    Args:
        done: At least one; of one worker.

    Raises:
        ModelChanged: A collection has another model by now.
    """
    async with transaction() as db:
        await _introduce(done[0].document, db)
        # The rows come first: they are the lock that keeps other workers, and deletes, out until we commit.
        titles = await _hold(done, db)
        ours = [each for each in done if each.document.id in titles]
        if ours:
            await _store(ours, titles, db)
            await _move(ours, titles, db)  # The last, as it says when they were done.
    return [each.document.id in titles for each in done]


def writer_name(owner: str) -> str:
    """What the connections of this worker are called while they store; PostgreSQL takes 63 characters."""
    return WRITER + hashlib.md5(owner.encode(), usedforsecurity=False).hexdigest()


async def _introduce(document: Document, db: Any) -> None:
    """Until the commit, the connection says whose it is: backlog.end_silent_writers looks for that.

    And its plans are made once, to look each row up in an index. Left alone, one made when the tables were
    empty would read all of them, and making one each time takes longer than storing a small document.
    """
    await fetch(
        "SELECT set_config('application_name', $1, TRUE), set_config('enable_seqscan', 'off', TRUE),"
        " set_config('enable_hashjoin', 'off', TRUE), set_config('enable_mergejoin', 'off', TRUE),"
        " set_config('plan_cache_mode', 'force_generic_plan', TRUE)",
        writer_name(document.lease_owner or ""),
        db=db,
    )


async def _hold(done: Sequence[Done], db: Any) -> Mapping[UUID, str | None]:
    """Lock those that are still ours until the transaction ends; what each will be called, by its id."""
    rows = await fetch(
        f"""
        -- In one order for all, or two that have the same in hand could wait for each other.
        SELECT d.id, COALESCE(d.title, done.title) AS title
        FROM documents AS d
            JOIN unnest($1::uuid[], $2::int[], $3::text[]) AS done (id, attempt, title) USING (id)
        WHERE {FENCE} AND d.status = ANY($4::text[]) ORDER BY d.id FOR NO KEY UPDATE OF d
        """,
        [document.id for document, _ in done],
        [document.attempt for document, _ in done],
        [ingested.title for _, ingested in done],
        sorted(COMPLETE.sources),
        db=db,
    )
    return {row["id"]: row["title"] for row in rows}


async def _move(done: Sequence[Done], titles: Mapping[UUID, str | None], db: Any) -> None:
    """Make those COMPLETED that we hold."""
    last = {column: f"(SELECT {column} FROM done WHERE done.id = was.id)" for column in ("stage", "seconds")}
    noted = ended(Outcome.COMPLETED, stage=last["stage"], seconds=last["seconds"])
    endings = [document.ending() for document, _ in done]
    await fetch(
        f"""
        WITH done AS (
            SELECT id, attempt, chunk_count, media_type, warnings::jsonb, title, space_id, stage,
                seconds::jsonb
            FROM unnest($1::uuid[], $2::int[], $3::int[], $4::text[], $5::text[], $6::text[], $7::smallint[],
                $8::text[], $9::text[]) AS d
                (id, attempt, chunk_count, media_type, warnings, title, space_id, stage, seconds)
        ), moved AS (
            UPDATE documents AS d
            SET status = '{COMPLETE.target}', updated_at = statement_timestamp(),
                {ON_ENTERING[COMPLETE.target]},
                chunk_count = done.chunk_count, indexed_version = d.version, media_type = done.media_type,
                warnings = done.warnings, space_id = done.space_id, reembed_lease_expires_at = NULL,
                title = done.title,
                cited = jsonb_build_object(
                    'title', done.title, 'source_name', d.source_name, 'metadata', d.metadata
                )
            FROM done WHERE d.id = done.id AND {FENCE} AND d.status = ANY($10::text[])
            RETURNING d.id
        ), noted AS ({noted}), forgotten AS (
            DELETE FROM embedded_texts WHERE document_id IN (SELECT id FROM moved)
        )
        SELECT FROM moved
        """,
        [document.id for document, _ in done],
        [document.attempt for document, _ in done],
        [len(ingested.chunks) for _, ingested in done],
        [ingested.media_type for _, ingested in done],
        [json.dumps(list(ingested.warnings)) for _, ingested in done],
        [titles[document.id] for document, _ in done],
        [ingested.space_id for _, ingested in done],
        [ending.stage for ending in endings],
        [json.dumps(ending.stage_seconds or {}) for ending in endings],
        sorted(COMPLETE.sources),
        db=db,
    )


async def _store(done: Sequence[Done], titles: Mapping[UUID, str | None], db: Any) -> None:
    collections = await _collections(done, db)
    async with db.acquire_connection() as connection:
        replaced = [document.id for document, _ in done if document.indexed_version is not None]
        if replaced:
            await Chunk.remove(connection, replaced)
        stored = [
            Stored(
                document.id,
                document.version,
                collections[document.collection],
                ingested.space_id,
                ingested.chunks,
                titles[document.id],
            )
            for document, ingested in done
        ]
        async for count in Chunk.store(connection, stored):
            if done[0].document.progress_unit is not None:  # It is a long one, and alone.
                done[0].document.progress_done = count
        lengths = await Collection.changed(
            connection,
            [
                (collections[document.collection].id, chunks)
                for document, ingested in done
                for chunks in (-document.chunk_count, len(ingested.chunks))
            ],
        )
        for name, collection in collections.items():
            # What is weighed anew meanwhile is what was committed before.
            if (average := lengths[collection.id]) != collection.weighed_length:
                ours = [document.id for document, _ in done if document.collection == name]
                await chunk_words.weigh_anew(connection, ours, average)


async def _collections(done: Sequence[Done], db: Any) -> Mapping[str, Collection]:
    """By name; they stay as they are until the transaction ends."""
    names = sorted({document.collection for document, _ in done})
    collections = {name: await Collection.stored_into(name, db) for name in names}
    for document, ingested in done:
        if collections[document.collection].space_id != ingested.space_id:
            raise ModelChanged(document.collection)
    return collections
