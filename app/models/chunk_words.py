"""The words by which chunks are found: `chunk_words`, a row for each chunk."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from app.models.lexicon import lexicon_of
from app.models.sql import fetch, transaction
from app.words.passage import Passage, PassageWords, passage_words
from app.words.reading import RULES, written

#: So many are read before anything else of this process has its turn: some milliseconds.
READ_AT_ONCE = 50

#: Chunks that are weighed anew in one statement: half a second.
WEIGHED_AT_ONCE = 5_000

#: Chunks that are read anew in one transaction.
READ_ANEW_AT_ONCE = 500


class Said(NamedTuple):
    """What a chunk is found by, and what its collection has to say to that."""

    chunk_id: int
    document_id: UUID
    text: str
    headings: Sequence[str]
    title: str | None  # Of its document, if it is the first chunk.
    collection_id: int
    language: str
    weighed_length: float


async def store(connection: asyncpg.Connection, chunks: Sequence[Said]) -> None:
    """Store the words of new chunks, inside the caller's transaction."""
    words = await _read(chunks, connection)
    await connection.copy_records_to_table(
        "chunk_words",
        columns=("chunk_id", "document_id", "rules", "length", "words", "weights"),
        records=(
            (chunk.chunk_id, chunk.document_id, RULES, *each)
            for chunk, each in zip(chunks, words, strict=True)
        ),
    )


async def weigh_anew(
    connection: asyncpg.Connection, document_ids: Sequence[UUID], average_length: float
) -> None:
    """Weigh the words of documents by another average length of chunks, inside the caller's transaction."""
    rows = await connection.fetch(
        "SELECT chunk_id FROM chunk_words WHERE document_id = ANY($1::uuid[])", document_ids
    )
    for begin in range(0, len(rows), WEIGHED_AT_ONCE):
        await connection.execute(
            "UPDATE chunk_words SET weights = word_weights(words, length, $2)"
            " WHERE chunk_id = ANY($1::bigint[])",
            [row["chunk_id"] for row in rows[begin : begin + WEIGHED_AT_ONCE]],
            average_length,
        )


async def retitle(document_id: UUID) -> None:
    """Find a document by the title that it is cited by now, inside the caller's transaction."""
    await _read_anew("c.document_id = $1 AND c.ordinal = 0", document_id)


async def read_outdated(*, after: int) -> list[int]:
    """Read chunks anew whose words an earlier version has read, by its rules. Any number may do it at once.

    Args:
        after: No chunk up to this id.

    Returns:
        Their ids, in order; none when there are no more, but for those that others have in hand.
    """
    async with transaction() as db:
        rows = await fetch(
            f"""
            SELECT chunk_id FROM chunk_words WHERE rules < {RULES} AND chunk_id > $1
            ORDER BY chunk_id LIMIT {READ_ANEW_AT_ONCE} FOR UPDATE SKIP LOCKED
            """,
            after,
            db=db,
        )
        ids = [row["chunk_id"] for row in rows]
        if ids:
            await _read_anew("c.id = ANY($1::bigint[])", ids)
    return ids


async def _read_anew(condition: str, value: Any) -> None:
    rows = await fetch(
        f"""
        SELECT c.id AS chunk_id, c.document_id, c.text, c.headings,
            CASE WHEN c.ordinal = 0 THEN d.cited ->> 'title' END AS title,
            n.id AS collection_id, n.language, n.weighed_length
        FROM chunks AS c JOIN documents AS d ON d.id = c.document_id
            JOIN collections AS n ON n.name = d.collection
        WHERE {condition}
        """,
        value,
    )
    chunks = [Said(**row) for row in rows]
    words = await _read(chunks)
    await fetch(
        f"""
        WITH said AS (
            UPDATE chunk_words AS w
            SET rules = {RULES}, length = read.length, words = read.words, weights = read.weights
            FROM unnest($1::bigint[], $2::int[], $3::int[], $4::tsvector[], $5::sparsevec[])
                AS read (chunk_id, collection_id, length, words, weights)
            WHERE w.chunk_id = read.chunk_id RETURNING read.collection_id
        )
        -- Words came, and words went: they are to be counted anew.
        INSERT INTO chunk_changes (collection_id, chunks)
        SELECT collection_id, sign * count(*) FROM said, unnest(ARRAY[1, -1]) AS sign GROUP BY 1, sign
        """,
        [chunk.chunk_id for chunk in chunks],
        [chunk.collection_id for chunk in chunks],
        [each.length for each in words],
        [each.tsvector for each in words],
        [each.sparsevec for each in words],
    )


async def _read(chunks: Sequence[Said], connection: asyncpg.Connection | None = None) -> list[PassageWords]:
    """Their words, in the order of the chunks."""
    words: dict[int, PassageWords] = {}
    for begin in range(0, len(chunks), READ_AT_ONCE):
        by_language: dict[str, list[Said]] = defaultdict(list)
        for chunk in chunks[begin : begin + READ_AT_ONCE]:
            by_language[chunk.language].append(chunk)
        for language, some in by_language.items():
            passages = [_passage(chunk) for chunk in some]
            keys = list(chain.from_iterable(passage.keys for passage in passages))
            lexicon = await lexicon_of(language, keys, connection)
            read = passage_words(passages, lexicon)
            words |= zip((chunk.chunk_id for chunk in some), read, strict=True)
        await asyncio.sleep(0)
    return [words[chunk.chunk_id] for chunk in chunks]


def _passage(chunk: Said) -> Passage:
    keys = written(chunk.text)
    for said in (*chunk.headings, chunk.title or ""):
        keys += written(said)
    # A mark of its collection: one index finds both.
    return Passage(keys, f"={chunk.collection_id}", chunk.weighed_length)
