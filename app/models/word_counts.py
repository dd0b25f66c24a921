"""How many chunks of a collection each word is in, and how long its chunks are: what BM25 has to know.

Collections note that chunks came or went; the workers count from time to time, and weigh anew what changed.
"""

from __future__ import annotations

from typing import Any

from app.models.chunk_words import WEIGHED_AT_ONCE
from app.models.collection import Collection
from app.models.sql import fetch, transaction

#: Weights are made anew when the average that they were made by is off by more than this.
DRIFT = 0.1

#: A count reads so many chunks at the most; of a larger collection, a sample of so many.
COUNTED_AT_ONCE = 100_000

#: Collections that are looked up together; a pass goes on until none is left.
COLLECTIONS_AT_ONCE = 10

#: Words that are in fewer than one in so many chunks are not kept: a search counts them itself, as fast.
RARE = 20_000

#: Changes that are folded in one statement.
FOLDED_AT_ONCE = 10_000

# Any number will do, so long as nobody else in the database uses it.
UPKEEP_LOCK = 0x51_1C_E1


async def keep_counts() -> None:
    """Count anew the words of those that have changed a good deal. One process at a time, or none.

    A search needs to know how rare a word is, and how long chunks are, only roughly; so nobody who stores
    or deletes has to wait for anybody else to write it down.
    """
    async with transaction() as db:
        locked = await fetch("SELECT pg_try_advisory_xact_lock($1) AS mine", UPKEEP_LOCK, db=db)
        if not locked[0]["mine"]:
            return
        await _fold(db)
    while True:
        rows = await fetch(
            """
            SELECT * FROM collections
            WHERE changed_chunks > 0 AND deleting_at IS NULL
                AND (
                    -- While one grows fast, a count for each tenth would take as long as ten readings.
                    changed_chunks * 2 > chunks
                    OR changed_chunks * 10 > chunks AND counted_at < now() - interval '30 seconds'
                    OR counted_at < now() - interval '10 minutes'
                )
            ORDER BY counted_at NULLS FIRST LIMIT $1
            """,
            COLLECTIONS_AT_ONCE,
        )
        for row in rows:
            counted = await _count(Collection._init_from_db(**row))
            if counted is None:
                return
            await _weigh(counted)
        if len(rows) < COLLECTIONS_AT_ONCE:
            return


async def _count(collection: Collection) -> Collection | None:
    """How many chunks each word is in: with their number, its weight in a search.

    Returns:
        The row as it is now; None when another process is at it.
    """
    share = min(1.0, COUNTED_AT_ONCE / max(collection.chunks, 1))
    sampled = "" if share == 1 else f"TABLESAMPLE SYSTEM ({share * 100:.4f})"
    mine = f"words @@ '''={collection.id}'''::tsquery"
    async with transaction() as db:
        locked = await fetch("SELECT pg_try_advisory_xact_lock($1) AS mine", UPKEEP_LOCK, db=db)
        if not locked[0]["mine"]:
            return None
        await fetch("DELETE FROM word_counts WHERE collection_id = $1", collection.id, db=db)
        await fetch(
            """
            INSERT INTO word_counts (collection_id, word, chunks)
            SELECT $1::int, word, ceil(ndoc / $3::float8) FROM ts_stat($2)
            WHERE word <> '=' || $1::int AND ndoc > $4::int
            """,
            collection.id,
            f"SELECT words FROM chunk_words {sampled} WHERE {mine}",
            share,
            int(collection.chunks * share / RARE),
            db=db,
        )
        rows = await fetch(
            f"""
            UPDATE collections SET changed_chunks = changed_chunks - $2, counted_at = now(),
                counted_chunks = found.chunks, counted_words = found.words
            FROM (
                SELECT count(*) AS chunks, COALESCE(sum(length), 0) AS words
                FROM chunk_words {sampled} WHERE {mine}
            ) AS found
            WHERE id = $1 RETURNING collections.*
            """,
            collection.id,
            collection.changed_chunks,
            db=db,
        )
    return Collection._init_from_db(**rows[0]) if rows else None


async def _weigh(collection: Collection) -> None:
    """Weigh all words by the average length as it is now, if that is not what their weights say."""
    if not collection.counted_words:
        return
    average = collection.counted_words / collection.counted_chunks
    if abs(average - collection.weighed_length) <= DRIFT * collection.weighed_length:
        return
    # From here on, what is stored is weighed by the new one, also by those who began before (completion.py).
    await fetch("UPDATE collections SET weighed_length = $2 WHERE id = $1", collection.id, average)
    # Chunks that come during an import are not run after: they are weighed already.
    newest = await fetch("SELECT last_value AS id FROM chunks_id_seq")
    last = 0
    while True:
        rows = await fetch(
            f"""
            WITH batch AS (
                SELECT chunk_id FROM chunk_words
                WHERE words @@ '''={collection.id}'''::tsquery AND chunk_id > $1 AND chunk_id <= $3
                ORDER BY chunk_id LIMIT {WEIGHED_AT_ONCE}
            ), weighed AS (
                UPDATE chunk_words AS w SET weights = word_weights(words, length, $2)
                FROM batch WHERE w.chunk_id = batch.chunk_id
            )
            SELECT max(chunk_id) AS last FROM batch
            """,
            last,
            average,
            newest[0]["id"],
        )
        if rows[0]["last"] is None:
            return
        last = rows[0]["last"]


async def _fold(db: Any) -> None:
    """Bring what `chunk_changes` holds into the collections' rows."""
    await fetch(
        """
        WITH folded AS (
            DELETE FROM chunk_changes WHERE id IN (SELECT id FROM chunk_changes ORDER BY id LIMIT $1)
            RETURNING collection_id, chunks
        ), sums AS (
            SELECT collection_id, sum(chunks) AS chunks, sum(abs(chunks)) AS changed
            FROM folded GROUP BY collection_id
        )
        UPDATE collections AS n SET chunks = n.chunks + sums.chunks,
            changed_chunks = n.changed_chunks + sums.changed
        FROM sums WHERE n.id = sums.collection_id
        """,
        FOLDED_AT_ONCE,
        db=db,
    )
