"""Collections: what documents are named, searched and counted in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import asyncpg
from tortoise import Model, fields
from tortoise.fields.db_defaults import Now

from app.errors import CollectionBusy, CollectionDeleting
from app.models.sql import fetch, transaction

#: What a chunk has of words, until its collection has been counted once.
NOMINAL_LENGTH = 100

#: Weights are made anew when the average that they were made by is off by more than this.
DRIFT = 0.1

#: Chunks that are weighed anew in one statement.
WEIGHED_AT_ONCE = 5_000

#: A count reads so many chunks at the most; of a larger collection, a sample of so many.
COUNTED_AT_ONCE = 100_000

#: Words that are in fewer than one in so many chunks are not kept: a search counts them itself, as fast.
RARE = 20_000

#: Changes that are folded in one statement.
FOLDED_AT_ONCE = 10_000

# Any numbers will do, so long as nobody else in the database uses them.
UPKEEP_LOCK = 0x51_1C_E1
SETTINGS_LOCK = 0x51_1C_E3  # With the id of a collection, whose language and spaces then stay as they are.
CLEANING_LOCK = 0x51_1C_E4  # Likewise.


class Contents(NamedTuple):
    """What is in a collection."""

    documents: Mapping[str, int]  # By status.
    chunks: int
    size_bytes: int  # Of the documents as they were sent.
    chunks_in: Mapping[int, int]  # By the newest space that they have vectors in.


class Collection(Model):
    """A row in `collections`; made when the first document comes, or by its settings."""

    name = fields.CharField(primary_key=True, max_length=200)
    id = fields.IntField(unique=True, generated=True)
    language = fields.CharField(max_length=63, default="english")  # A text search configuration.
    chunk_tokens = fields.IntField(null=True)  # NULL: as the worker is set.
    overlap_tokens = fields.IntField(null=True)
    space_id = fields.SmallIntField(null=True)  # NULL: of the worker that reads its first document.
    next_space_id = fields.SmallIntField(null=True)  # Which it is being embedded anew for.
    reembedding_since = fields.DatetimeField(null=True)
    reembedding_error: fields.Field[dict[str, Any] | None] = fields.JSONField(null=True)  # Why it is not.
    stale_vectors_since = fields.DatetimeField(null=True)  # It has some of a space that it is not in.
    created_at = fields.DatetimeField(db_default=Now())
    deleting_at = fields.DatetimeField(null=True)
    chunks = fields.BigIntField(default=0)  # Without what is in `chunk_changes` still.
    changed_chunks = fields.BigIntField(default=0)  # Stored and deleted since the last count of words.
    counted_chunks = fields.BigIntField(default=0)
    counted_words = fields.BigIntField(default=0)
    counted_at = fields.DatetimeField(null=True)
    weighed_length = fields.FloatField(default=NOMINAL_LENGTH)  # What the stored weights take for average.

    class Meta:
        table = "collections"

    @classmethod
    async def searched(cls, names: Sequence[str] | None) -> list[Self]:
        """Those of these names that can be searched, with all chunks that they have now; all when None."""
        rows = await fetch(
            """
            SELECT n.*, -- Of two columns with one name, the later one counts.
                n.chunks + COALESCE(changes.chunks, 0) AS chunks
            FROM collections AS n LEFT JOIN (
                SELECT collection_id, sum(chunks)::bigint AS chunks FROM chunk_changes GROUP BY collection_id
            ) AS changes ON changes.collection_id = n.id
            WHERE n.deleting_at IS NULL AND ($1::text[] IS NULL OR n.name = ANY($1::text[]))
            """,
            None if names is None else list(names),
        )
        return [cls._init_from_db(**row) for row in rows]

    @classmethod
    async def stored_into(cls, name: str, db: Any) -> Self:
        """The collection, whose language and spaces stay as they are until the caller's transaction ends."""
        await fetch(
            "SELECT pg_advisory_xact_lock_shared($1, id) FROM collections WHERE name = $2",
            SETTINGS_LOCK,
            name,
            db=db,
        )
        rows = await fetch("SELECT * FROM collections WHERE name = $1", name, db=db)
        return cls._init_from_db(**rows[0])

    @classmethod
    async def settled(cls, name: str, space_id: int) -> Self:
        """The collection, in this space if it is in none yet."""
        collection = await cls.get(name=name)
        if collection.space_id is None:
            await fetch(
                "UPDATE collections SET space_id = $2 WHERE name = $1 AND space_id IS NULL", name, space_id
            )
            collection = await cls.get(name=name)
        return collection

    @staticmethod
    async def languages() -> list[str]:
        """Those whose rules of words PostgreSQL knows."""
        rows = await fetch("SELECT cfgname FROM pg_ts_config WHERE pg_ts_config_is_visible(oid) ORDER BY 1")
        return [row["cfgname"] for row in rows]

    @classmethod
    async def put(cls, name: str, changes: Mapping[str, Any]) -> bool:
        """Make the collection with these settings, or change them; whether it was made.

        Another `space_id` is where its chunks are embedded anew for, if it has any.

        Raises:
            CollectionBusy: It has chunks, whose words follow another language's rules.
            CollectionDeleting: It is on its way out.
        """
        async with transaction() as db:
            made = await fetch(
                "INSERT INTO collections (name) VALUES ($1) ON CONFLICT DO NOTHING RETURNING name",
                name,
                db=db,
            )
            # Whoever stores chunks waits here for us, or we for him.
            await fetch(
                "SELECT pg_advisory_xact_lock($1, id) FROM collections WHERE name = $2",
                SETTINGS_LOCK,
                name,
                db=db,
            )
            (row,) = await fetch("SELECT * FROM collections WHERE name = $1 FOR NO KEY UPDATE", name, db=db)
            collection = cls._init_from_db(**row)
            if collection.deleting_at is not None:
                raise CollectionDeleting(name)
            language = changes.get("language", collection.language)
            has_chunks = not made and bool((await cls.contents([name]))[name].chunks)
            if language != collection.language and has_chunks:
                raise CollectionBusy(name)
            await fetch(
                """
                UPDATE collections SET language = $2, chunk_tokens = $3, overlap_tokens = $4
                WHERE name = $1
                """,
                name,
                language,
                changes.get("chunk_tokens", collection.chunk_tokens),
                changes.get("overlap_tokens", collection.overlap_tokens),
                db=db,
            )
            if changes.get("space_id") is not None:
                await collection._turn_to(changes["space_id"], has_chunks=has_chunks, db=db)
        return bool(made)

    async def _turn_to(self, space_id: int, *, has_chunks: bool, db: Any) -> None:
        """Be in another space: at once where there is nothing yet, else when all chunks are."""
        if not has_chunks:
            now, later = space_id, None
        else:
            now, later = self.space_id, None if space_id == self.space_id else space_id
        if (now, later) == (self.space_id, self.next_space_id):
            return
        await fetch(
            """
            UPDATE collections SET space_id = $2, next_space_id = $3, reembedding_error = NULL,
                reembedding_since = CASE WHEN $3::smallint IS NOT NULL THEN now() END,
                stale_vectors_since = CASE WHEN next_space_id IS NULL THEN stale_vectors_since ELSE now() END
            WHERE id = $1
            """,
            self.id,
            now,
            later,
            db=db,
        )

    @staticmethod
    async def contents(names: Sequence[str]) -> dict[str, Contents]:
        """What is in each of these."""
        rows = await fetch(
            """
            SELECT asked.name, d.status, d.space_id, count(d.id) AS documents,
                COALESCE(sum(d.chunk_count), 0)::bigint AS chunks,
                COALESCE(sum(d.size_bytes), 0)::bigint AS size_bytes
            FROM unnest($1::text[]) AS asked (name) LEFT JOIN documents AS d ON d.collection = asked.name
            GROUP BY asked.name, d.status, d.space_id
            """,
            list(names),
        )
        documents, chunks_in = ({name: Counter[Any]() for name in names} for _ in range(2))
        sizes = Counter[str]()
        for row in rows:
            if row["status"] is not None:
                documents[row["name"]][row["status"]] += row["documents"]
                chunks_in[row["name"]][row["space_id"]] += row["chunks"]
                sizes[row["name"]] += row["size_bytes"]
        return {
            name: Contents(documents[name], chunks_in[name].total(), sizes[name], chunks_in[name])
            for name in names
        }

    @staticmethod
    async def begin_deletion(name: str) -> None:
        """From now on nothing of it is found, and nothing can be added."""
        await fetch("UPDATE collections SET deleting_at = COALESCE(deleting_at, now()) WHERE name = $1", name)

    @classmethod
    async def deleting(cls) -> list[Self]:
        """Those that are on their way out."""
        return await cls.filter(deleting_at__isnull=False)

    async def remove_documents(self, limit: int) -> tuple[int, list[str]]:
        """Delete some of a collection's documents, and the collection itself with the last of them.

        Returns:
            How many those were, and the keys of their stored contents.
        """
        rows = await fetch(
            """
            DELETE FROM documents WHERE id IN (
                SELECT id FROM documents WHERE collection = $1 LIMIT $2 FOR UPDATE SKIP LOCKED
            ) RETURNING content_key
            """,
            self.name,
            limit,
        )
        if not rows:
            # One that was accepted at the very moment when the deletion began may turn up only now.
            await fetch(
                "DELETE FROM collections AS n WHERE name = $1 AND deleting_at IS NOT NULL"
                " AND NOT EXISTS (SELECT FROM documents WHERE collection = n.name)",
                self.name,
            )
        return len(rows), [row["content_key"] for row in rows if row["content_key"] is not None]

    @staticmethod
    async def changed(connection: asyncpg.Connection, collection_id: int, *chunks: int) -> None:
        """Note chunks that came, or, negative, went, inside the caller's transaction."""
        await connection.executemany(
            "INSERT INTO chunk_changes (collection_id, chunks) VALUES ($1, $2)",
            [(collection_id, number) for number in chunks if number],
        )

    @classmethod
    async def keep_counts(cls) -> None:
        """Count anew the words of those that have changed by a tenth. One process at a time, or none.

        A search needs to know how rare a word is, and how long chunks are, only roughly; so nobody who stores
        or deletes has to wait for anybody else to write it down.
        """
        async with transaction() as db:
            locked = await fetch("SELECT pg_try_advisory_xact_lock($1) AS mine", UPKEEP_LOCK, db=db)
            if not locked[0]["mine"]:
                return
            await _fold(db)
        for row in await fetch(
            """
            SELECT * FROM collections
            WHERE changed_chunks > 0 AND deleting_at IS NULL
                AND (changed_chunks * 10 > chunks OR counted_at < now() - interval '10 minutes')
            ORDER BY counted_at NULLS FIRST LIMIT 10
            """
        ):
            if counted := await cls._init_from_db(**row)._count():
                await counted._weigh()

    async def _count(self) -> Self | None:
        """How many chunks each word is in: with their number, its weight in a search.

        Returns:
            The row as it is now; None when another process is at it.
        """
        share = min(1.0, COUNTED_AT_ONCE / max(self.chunks, 1))
        sampled = "" if share == 1 else f"TABLESAMPLE SYSTEM ({share * 100:.4f})"
        mine = f"words @@ '''={self.id}'''::tsquery"
        async with transaction() as db:
            locked = await fetch("SELECT pg_try_advisory_xact_lock($1) AS mine", UPKEEP_LOCK, db=db)
            if not locked[0]["mine"]:
                return None
            await fetch("DELETE FROM word_counts WHERE collection_id = $1", self.id, db=db)
            await fetch(
                """
                INSERT INTO word_counts (collection_id, word, chunks)
                SELECT $1::int, word, ceil(ndoc / $3::float8) FROM ts_stat($2)
                WHERE word <> '=' || $1::int AND ndoc > $4::int
                """,
                self.id,
                f"SELECT words FROM chunk_words {sampled} WHERE {mine}",
                share,
                int(self.chunks * share / RARE),
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
                self.id,
                self.changed_chunks,
                db=db,
            )
        return self._init_from_db(**rows[0]) if rows else None

    async def _weigh(self) -> None:
        """Weigh all words by the average length as it is now, if that is not what their weights say."""
        if not self.counted_words:
            return
        average = self.counted_words / self.counted_chunks
        if abs(average - self.weighed_length) <= DRIFT * self.weighed_length:
            return
        # From here on, what is stored is weighed by the new one; what a process stores just now by the old
        # one is found by the count after this.
        await fetch("UPDATE collections SET weighed_length = $2 WHERE id = $1", self.id, average)
        last = 0
        while True:
            rows = await fetch(
                f"""
                WITH batch AS (
                    SELECT chunk_id FROM chunk_words
                    WHERE words @@ '''={self.id}'''::tsquery AND chunk_id > $1
                    ORDER BY chunk_id LIMIT {WEIGHED_AT_ONCE}
                ), weighed AS (
                    UPDATE chunk_words AS w SET weights = word_weights(words, length, $2)
                    FROM batch WHERE w.chunk_id = batch.chunk_id
                )
                SELECT max(chunk_id) AS last FROM batch
                """,
                last,
                average,
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
