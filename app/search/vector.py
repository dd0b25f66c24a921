"""Nearest chunks by the angle between vectors: through HNSW indexes, or one by one where they are few."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from pgvector import HalfVector

from app.models.sql import fetch, transaction
from app.models.vector_parts import Part, parts_of
from app.search.filters import SQL
from app.search.scope import Ranked, Scope, best_first

#: Up to so many chunks, of so many documents, are looked at one by one, which takes no longer than the
#: indexes would, and misses none: 3 µs for each chunk, and 1 to count a document. Of more vectors than these
#: in all, an index has to go through more that do not count, and there are more of them: by the square root.
EXACT_UP_TO = 15_000
EXACT_DOCUMENTS = 5_000
OF_VECTORS = 100_000


async def nearest_chunks(
    vector: NDArray[np.float32],
    scope: Scope,
    *,
    space_id: int,
    limit: int,
    ef_search: int | None = None,
    is_exact: bool = False,
    must: str | None = None,
) -> list[Ranked]:
    """The chunks whose vectors are nearest to `vector`, best first, by the cosine of the angle.

    Args:
        vector: (dimensions,), length 1.
        scope: Where to look: collections whose vectors are in the same space as this one.
        space_id: Of that space. With no condition, all vectors that are in it count.
        limit: At most so many.
        ef_search: How many neighbours the index keeps in view; more find more, and take longer.
        is_exact: Look at each one, however many there are.
        must: A tsquery that the chunk's words have to match.
    """
    ask = partial(_ask, vector, scope, space_id, limit, must)
    if not scope.collections:
        return []
    if is_exact:
        return await ask(parts=None)
    parts = await parts_of(space_id)
    larger = max(sum(part.vectors for part in parts) / OF_VECTORS, 1) ** 0.5
    if await scope.is_small(chunks=round(EXACT_UP_TO * larger), documents=round(EXACT_DOCUMENTS * larger)):
        return await ask(parts=None)
    is_all = scope.condition is None and not must
    if ef_search is None and is_all:
        return await ask(parts=parts)
    async with transaction():
        if ef_search is not None:
            await fetch("SELECT set_config('hnsw.ef_search', $1, TRUE)", str(ef_search))
        # The planner guesses that a filter leaves little, and would sort all that it leaves.
        await fetch("SELECT set_config('enable_sort', 'off', TRUE)")
        found = await ask(parts=parts)
    if len(found) < limit and not is_all:
        # An index gives up after so many chunks that do not count (hnsw.max_scan_tuples). Those that do are
        # few near the question then, or few at all.
        found = await ask(parts=None)
    return found


async def _ask(
    vector: NDArray[np.float32],
    scope: Scope,
    space_id: int,
    limit: int,
    must: str | None,
    *,
    parts: Sequence[Part] | None,
) -> list[Ranked]:
    """The best of each part, by its index, and of what is in none; None: of all, one by one."""
    sql = SQL()
    # The cast is the indexes' own expression (vector_parts.build): without it they would not be used, as they
    # are not when something is added. `<#>` is the negative inner product: of unit vectors, the cosine.
    halfvec = f"halfvec({len(vector):d})"
    distance = f"(v.embedding::{halfvec} <#> {sql.value(HalfVector(vector), halfvec)})"
    one_by_one = f"{distance} + 0"
    most = sql.value(limit, "bigint")

    def best(joins: str, condition: str, order: str) -> str:
        return f"""(
            SELECT v.chunk_id, v.document_id, -{distance} AS score FROM chunk_vectors AS v {joins}
            WHERE v.space_id = {space_id:d} AND {condition} ORDER BY {order} LIMIT {most}
        )"""

    matches = f"w.chunk_id = v.chunk_id AND w.words @@ {sql.value(must, 'tsquery')}" if must else None
    if parts is None:
        joins, condition = scope.joined(sql, "v")
        if matches:
            joins += f" JOIN chunk_words AS w ON {matches}"
        legs = [best(joins, condition, one_by_one)]
    else:
        condition = scope.looked_up(sql, "v")
        if matches:
            condition += f" AND EXISTS (SELECT FROM chunk_words AS w WHERE {matches} OFFSET 0)"
        fresh = f"v.chunk_id > {parts[-1].up_to if parts else 0:d}"
        legs = [best("", f"{part.condition} AND {condition}", distance) for part in parts]
        legs.append(best("", f"{fresh} AND {condition}", one_by_one))
    rows = await fetch(
        f"SELECT * FROM ({' UNION ALL '.join(legs)}) AS found ORDER BY score DESC LIMIT {most}", *sql.values
    )
    return sorted((Ranked(**row) for row in rows), key=best_first)
