"""Collections: what documents are named, searched and counted in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import asyncpg
from tortoise import Model, fields
from tortoise.fields.db_defaults import Now

from app.errors import CollectionBusy, CollectionDeleting
from app.models.reach import Reach, within
from app.models.sql import fetch, transaction

#: What a chunk has of words, until its collection has been counted once.
NOMINAL_LENGTH = 100

# Any numbers will do, so long as nobody else in the database uses them.
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
        """Those of these names, with all chunks that they have now; all when None.

        Also those on their way out, in which nothing is to be found any more.
        """
        rows = await fetch(
            """
            SELECT n.*, -- Of two columns with one name, the later one counts.
                n.chunks + COALESCE(changes.chunks, 0) AS chunks
            FROM collections AS n LEFT JOIN (
                SELECT collection_id, sum(chunks)::bigint AS chunks FROM chunk_changes GROUP BY collection_id
            ) AS changes ON changes.collection_id = n.id
            WHERE $1::text[] IS NULL OR n.name = ANY($1::text[])
            """,
            None if names is None else list(names),
        )
        return [cls._init_from_db(**row) for row in rows]

    @classmethod
    async def page(cls, reach: Reach, *, after: str | None, limit: int) -> list[Self]:
        """Those within reach behind this name, in their order."""
        rows = await fetch(
            f"""
            SELECT * FROM collections WHERE ($1::text IS NULL OR name > $1) AND {within("name", "$2")}
            ORDER BY name LIMIT $3
            """,
            after,
            reach.names(),
            limit,
        )
        return [cls._init_from_db(**row) for row in rows]

    @classmethod
    async def named(cls, names: Sequence[str], db: Any = None) -> list[Self]:
        """Those that documents are in; they outlive all of them."""
        rows = await fetch("SELECT * FROM collections WHERE name = ANY($1)", names, db=db)
        known = {row["name"]: cls._init_from_db(**row) for row in rows}
        return [known[name] for name in names]

    @classmethod
    async def stored_into(cls, name: str, db: Any) -> Self:
        """The collection, whose language and spaces stay as they are until the caller's transaction ends."""
        await fetch(
            "SELECT pg_advisory_xact_lock_shared($1, id) FROM collections WHERE name = $2",
            SETTINGS_LOCK,
            name,
            db=db,
        )
        (collection,) = await cls.named([name], db)
        return collection

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
    async def put(
        cls,
        name: str,
        changes: Mapping[str, Any],
        *,
        check: Callable[[int | None, int | None], None] = lambda *_: None,
    ) -> bool:
        """Make the collection with these settings, or change them; whether it was made.

        Another `space_id` is where its chunks are embedded anew for, if it has any.

        Args:
            name: Of the collection.
            changes: What is new, by the names of the columns.
            check: Is given what `chunk_tokens` and `overlap_tokens` will be, if one of them is among the
                changes; what it raises is raised, and nothing is made or changed.

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
            (found,) = await fetch(
                "SELECT EXISTS (SELECT FROM documents WHERE collection = $1 AND chunk_count > 0) AS chunks",
                name,
                db=db,
            )
            has_chunks = found["chunks"]
            if language != collection.language and has_chunks:
                raise CollectionBusy(name)
            chunk_tokens = changes.get("chunk_tokens", collection.chunk_tokens)
            overlap_tokens = changes.get("overlap_tokens", collection.overlap_tokens)
            if changes.keys() & {"chunk_tokens", "overlap_tokens"}:
                check(chunk_tokens, overlap_tokens)
            await fetch(
                """
                UPDATE collections SET language = $2, chunk_tokens = $3, overlap_tokens = $4
                WHERE name = $1
                """,
                name,
                language,
                chunk_tokens,
                overlap_tokens,
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

    async def remove_documents(self, limit: int, *, chunks: int) -> tuple[bool, list[str]]:
        """Delete some of a collection's documents, and the collection itself when there are none left.

        Args:
            limit: At most so many,
            chunks: and no more when they have so many chunks together: those are what takes its time.

        Returns:
            Whether there were any, and the keys of their stored contents.
        """
        rows = await fetch(
            """
            DELETE FROM documents WHERE id IN (
                SELECT id FROM (
                    SELECT id, sum(chunk_count) OVER (ORDER BY id) - chunk_count AS chunks_before FROM (
                        SELECT id, chunk_count FROM documents
                        WHERE collection = $1 LIMIT $2 FOR UPDATE SKIP LOCKED
                    ) AS locked
                ) AS counted WHERE chunks_before < $3
            ) RETURNING content_key
            """,
            self.name,
            limit,
            chunks,
        )
        if not rows:
            # One that was accepted at the very moment when the deletion began may turn up only now.
            await fetch(
                "DELETE FROM collections AS n WHERE name = $1 AND deleting_at IS NOT NULL"
                " AND NOT EXISTS (SELECT FROM documents WHERE collection = n.name)",
                self.name,
            )
        return bool(rows), [row["content_key"] for row in rows if row["content_key"] is not None]

    @staticmethod
    async def changed(
        connection: asyncpg.Connection, changes: Sequence[tuple[int, int]]
    ) -> Mapping[int, float]:
        """Note `(collection_id, chunks)` that came, or, negative, went, inside the caller's transaction.

        Returns:
            By id, the length that the weights of each collection take for average by now.
        """
        # What comes and what goes is told apart: either changes the words.
        chunks: Counter[tuple[int, bool]] = Counter()
        for collection_id, number in changes:
            chunks[collection_id, number > 0] += number
        rows = await connection.fetch(
            """
            WITH noted AS (
                INSERT INTO chunk_changes (collection_id, chunks)
                SELECT * FROM unnest($1::int[], $2::int[]) AS n (id, chunks) WHERE chunks <> 0
            )
            SELECT id, weighed_length FROM collections WHERE id = ANY($1)
            """,
            [collection_id for collection_id, _ in chunks],
            list(chunks.values()),
        )
        return {row["id"]: row["weighed_length"] for row in rows}
