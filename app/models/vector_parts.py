"""The HNSW indexes of a vector space: one for each part of it, and none for what came last.

Adding a vector to an HNSW index takes longer than all the rest of storing a chunk; making an index of many
at once is ten times faster. So what is stored is fresh at first, and searches compare it one by one. Once
there is enough of it, an index is made of it beside the work, and small parts are made one with it.

A part is a range of chunk ids, and its index is one on `chunk_vectors` WHERE the id is in that range. Nothing
moves; a vector that comes late into a range goes into its index as into any other. Whatever dies in between,
each vector is in exactly one range: at worst an index is missing for a while, or left over.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import asyncpg

from app.models.sql import fetch
from app.models.vector_space import VectorSpace

#: So many fresh vectors are worth an index. Up to there, a search compares them in a few milliseconds.
WORTH_AN_INDEX = 10_000

#: So many parts of about one size become one.
ALIKE = 4

#: The upper end of a part that takes all that comes, as all of them did in earlier versions.
ENDLESS = 2**63 - 1

BUILT_WITHIN_S = 24 * 3600

#: What a build keeps in memory for each vector, besides its numbers of two bytes: 719 were measured with
#: pgvector 0.8.5.
GRAPH_BYTES = 750


class Part(NamedTuple):
    """Vectors of the chunks with `above < id <= up_to`, and the name of their index."""

    above: int
    up_to: int
    vectors: int  # When the index was made.
    index_name: str

    @property
    def condition(self) -> str:
        """On `chunk_vectors AS v`; as the index has it, or it would not be used."""
        return f"v.chunk_id > {self.above:d} AND v.chunk_id <= {self.up_to:d}"


class Plan(NamedTuple):
    """An index that is to be made, for parts that it takes the place of, or what is fresh, or both."""

    above: int
    up_to: int
    replaced: Sequence[Part]


async def parts_of(space_id: int) -> list[Part]:
    """The parts that have an index, in the order of their ids. What is above the last one is fresh."""
    rows = await fetch(
        "SELECT above, up_to, vectors, index_name FROM vector_parts WHERE space_id = $1 ORDER BY above",
        space_id,
    )
    return [Part(**row) for row in rows]


def fitting(memory_mb: int, dimensions: int) -> int:
    """So many vectors can be indexed in so much memory; of more, an index is made several times slower."""
    return max(memory_mb * 2**20 // (GRAPH_BYTES + 2 * dimensions), WORTH_AN_INDEX)


def plan(parts: Sequence[Part], *, fresh: int, newest: int, largest: int) -> Plan | None:
    """What to make an index of next; None while there is too little.

    Parts grow by a factor each time they are made one, so that a vector is indexed a few times in all, and a
    search looks into a few parts for each power of `ALIKE`. Once they are half as large as they may get, they
    stay as they are.

    Args:
        parts: All there are, in their order.
        fresh: Vectors above the last one, up to `largest`.
        newest: The highest id of a chunk among those.
        largest: So many vectors may be in a part.
    """
    if parts and parts[-1].up_to == ENDLESS:
        return Plan(parts[0].above, newest, parts)
    if fresh < WORTH_AN_INDEX:
        return None
    growing = _last(parts, at_most=largest // 2)
    replaced: list[Part] = []
    left, size = growing, fresh
    while len(alike := _last(left, at_most=2 * size)) >= ALIKE - 1:
        if size + sum(part.vectors for part in alike) > largest:
            if filling := _filling(left, largest):
                return Plan(filling[0].above, filling[-1].up_to, filling)
            break
        replaced[:0] = alike
        size += sum(part.vectors for part in alike)
        left = left[: -len(alike)]
    end = (replaced[0].above if replaced else parts[-1].up_to) if parts else 0
    return Plan(end, newest, replaced)


def _last(parts: Sequence[Part], *, at_most: int) -> list[Part]:
    """The last ones of these, back to one with more vectors than this."""
    first = len(parts)
    while first and parts[first - 1].vectors <= at_most:
        first -= 1
    return list(parts[first:])


def _filling(parts: Sequence[Part], largest: int) -> list[Part]:
    """The first ones of these that make a part which need not grow any more; none if all of them do not."""
    sizes = list(itertools.accumulate(part.vectors for part in parts))
    fit = sum(size <= largest for size in sizes)
    return list(parts[:fit]) if fit and sizes[fit - 1] > largest // 2 else []


async def next_plan(space: VectorSpace, *, memory_mb: int) -> Plan | None:
    """The plan for the space as it is now, with so much memory for an index."""
    parts = await parts_of(space.id)
    is_endless = bool(parts) and parts[-1].up_to == ENDLESS
    largest = fitting(memory_mb, space.dimensions)
    (row,) = await fetch(
        "SELECT count(*) AS fresh, max(chunk_id) AS newest FROM (SELECT chunk_id FROM chunk_vectors"
        " WHERE space_id = $1 AND chunk_id > $2 ORDER BY chunk_id LIMIT $3) AS first",
        space.id,
        parts[-1].up_to if parts and not is_endless else 0,
        None
        if is_endless
        else largest,  # All at once, however long it takes: the old index serves meanwhile.
    )
    if row["newest"] is None:
        return None
    return plan(parts, fresh=row["fresh"], newest=row["newest"], largest=largest)


async def build(connection: asyncpg.Connection, space: VectorSpace, planned: Plan, *, memory_mb: int) -> Part:
    """Make the index, let searches use it, and drop those in whose place it is.

    Nobody who reads or writes waits for it. Half-way it leaves an index that nothing speaks of, and that
    `drop_leftovers` takes.

    Args:
        connection: Outside of any transaction, and of the pool: it may take minutes.
    """
    index = f"chunk_vectors_space_{space.id:d}_{planned.above:d}_{planned.up_to:d}"
    await connection.execute(
        f"SET maintenance_work_mem = '{memory_mb:d}MB'; SET max_parallel_maintenance_workers = 0"
    )
    await connection.execute(
        f"CREATE INDEX CONCURRENTLY {index} ON chunk_vectors"
        f" USING hnsw ((embedding::halfvec({space.dimensions:d})) halfvec_ip_ops)"
        f" WHERE space_id = {space.id:d} AND chunk_id > {planned.above:d} AND chunk_id <= {planned.up_to:d}",
        timeout=BUILT_WITHIN_S,
    )
    vectors = await connection.fetchval(
        "SELECT count(*) FROM chunk_vectors WHERE space_id = $1 AND chunk_id > $2 AND chunk_id <= $3",
        space.id,
        planned.above,
        planned.up_to,
        timeout=BUILT_WITHIN_S,
    )
    async with connection.transaction():
        await connection.execute(
            "DELETE FROM vector_parts WHERE index_name = ANY($1::text[])",
            [part.index_name for part in planned.replaced],
        )
        await connection.execute(
            "INSERT INTO vector_parts (space_id, above, up_to, vectors, index_name)"
            " VALUES ($1, $2, $3, $4, $5)",
            space.id,
            planned.above,
            planned.up_to,
            vectors,
            index,
        )
    for part in planned.replaced:
        await _drop(connection, part.index_name)
    return Part(planned.above, planned.up_to, vectors, index)


async def drop_leftovers(connection: asyncpg.Connection) -> None:
    """Drop indexes that no part has: of builds that did not come to their end."""
    left = await connection.fetch(
        """
        SELECT c.relname FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
        WHERE i.indrelid = 'chunk_vectors'::regclass AND c.relname ~ '^chunk_vectors_space_[0-9_]+$'
            AND c.relname NOT IN (SELECT index_name FROM vector_parts)
        """
    )
    for row in left:
        await _drop(connection, row["relname"])


async def _drop(connection: asyncpg.Connection, index: str) -> None:
    await connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index}", timeout=BUILT_WITHIN_S)
