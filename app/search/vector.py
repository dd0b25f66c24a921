"""Nearest chunks by the angle between vectors, through the HNSW index."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from pgvector import HalfVector
from tortoise import connections

from app.models.vector_space import SPACE


class Hit(NamedTuple):
    """A chunk that answers, with what is needed to cite it."""

    chunk_id: int
    document_id: UUID
    version: int
    collection: str
    external_id: str | None
    text: str
    score: float  # Cosine of the angle: 1 is the same direction, 0 is unrelated.
    title: str | None
    source_name: str | None
    page: int | None
    headings: list[str]
    char_start: int
    char_end: int
    metadata: dict[str, Any]


async def nearest_chunks(
    vector: NDArray[np.float32], *, top_k: int, collections: Sequence[str] | None = None
) -> list[Hit]:
    """The chunks whose vectors are nearest to `vector`, best first.

    Args:
        vector: (dimensions,), length 1, of the model that the database was filled with.
        top_k: At most so many hits.
        collections: Only documents of these; of all when None.
    """
    rows = await _ask(vector, top_k, collections, is_exact=False)
    if collections is not None and len(rows) < top_k:
        # The index gives up after so many chunks of other collections (hnsw.max_scan_tuples). These have few
        # chunks near the question then, or few at all, and looking at each of them is fast.
        rows = await _ask(vector, top_k, collections, is_exact=True)
    return [_hit(row) for row in rows]


async def _ask(
    vector: NDArray[np.float32], top_k: int, collections: Sequence[str] | None, *, is_exact: bool
) -> list[dict[str, Any]]:
    # The cast is the index's own expression (VectorSpace.adopt): without it the index would not be used, as
    # it is not when something is added. `<#>` is the negative inner product: of unit vectors, the cosine.
    halfvec = f"halfvec({len(vector):d})"
    distance = f"(v.embedding::{halfvec} <#> $1::{halfvec})"
    rows: list[dict[str, Any]] = await connections.get("default").execute_query_dict(
        f"""
        SELECT c.id, c.document_id, c.version, d.collection, d.external_id, c.text, d.cited,
            c.page, c.headings, c.char_start, c.char_end, -{distance} AS score
        FROM chunk_vectors AS v JOIN chunks AS c ON c.id = v.chunk_id
            JOIN documents AS d ON d.id = v.document_id
        WHERE v.space_id = {SPACE} AND ($2::text[] IS NULL OR d.collection = ANY($2::text[]))
        ORDER BY {distance}{" + 0" if is_exact else ""}
        LIMIT $3
        """,
        [HalfVector(vector), None if collections is None else list(collections), top_k],
    )
    return rows


def _hit(row: dict[str, Any]) -> Hit:
    # Not the row's present title: an update may be under way, and these are still the old version's chunks.
    cited = json.loads(row["cited"])
    return Hit(
        chunk_id=row["id"],
        document_id=row["document_id"],
        version=row["version"],
        collection=row["collection"],
        external_id=row["external_id"],
        text=row["text"],
        score=row["score"],
        title=cited["title"],
        source_name=cited["source_name"],
        page=row["page"],
        headings=row["headings"],
        char_start=row["char_start"],
        char_end=row["char_end"],
        metadata=cited["metadata"],
    )
