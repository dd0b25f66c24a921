"""What several test modules need."""

from __future__ import annotations

from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from tortoise import connections

from app.models.sql import fetch


async def emptied_database() -> None:
    """Remove all documents and collections; the vector space stays."""
    await connections.get("default").execute_script("TRUNCATE collections, chunk_changes CASCADE")


async def vectors_of(document_id: UUID) -> NDArray[np.float32]:
    """Those of its chunks, in their order: (chunks, dimensions)."""
    rows = await fetch(
        """
        SELECT v.embedding FROM chunks AS c JOIN chunk_vectors AS v ON v.chunk_id = c.id
        WHERE c.document_id = $1 ORDER BY c.ordinal
        """,
        document_id,
    )
    return np.array([row["embedding"].to_numpy() for row in rows], np.float32)
