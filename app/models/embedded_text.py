"""Vectors of a document that is not done yet, so that a later failure does not cost them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from pgvector import HalfVector
from tortoise import Model, fields

from app.models.fields import HalfVectorField
from app.models.sql import fetch

if TYPE_CHECKING:
    from app.models.document import Document


class EmbeddedText(Model):
    """A row in `embedded_texts`: content-addressed, so that whoever writes it, it is right."""

    id = fields.BigIntField(primary_key=True)
    document: fields.ForeignKeyRelation[Document] = fields.ForeignKeyField(
        "models.Document", related_name="embedded_texts", on_delete=fields.CASCADE, db_index=False
    )
    document_id: UUID
    key = fields.BinaryField()  # `key_of`: SHA-256 of space and text.
    embedding = HalfVectorField()
    created_at = fields.DatetimeField()

    class Meta:
        table = "embedded_texts"

    @staticmethod
    async def keep(document_id: UUID, vectors: Mapping[bytes, NDArray[np.float16]]) -> None:
        """Remember vectors by their keys; nothing happens when the document is gone."""
        await fetch(
            """
            INSERT INTO embedded_texts (document_id, key, embedding)
            SELECT d.id, new.key, new.embedding
            FROM unnest($2::bytea[], $3::halfvec[]) AS new (key, embedding)
                JOIN (SELECT id FROM documents WHERE id = $1 FOR KEY SHARE) AS d ON TRUE
            ON CONFLICT (document_id, key) DO NOTHING RETURNING id
            """,
            document_id,
            list(vectors),
            [HalfVector(vector) for vector in vectors.values()],
        )

    @staticmethod
    async def known(document_id: UUID, keys: Sequence[bytes]) -> dict[bytes, NDArray[np.float16]]:
        """What is remembered of these."""
        rows = await fetch(
            "SELECT key, embedding FROM embedded_texts WHERE document_id = $1 AND key = ANY($2::bytea[])",
            document_id,
            list(keys),
        )
        return {row["key"]: row["embedding"].to_numpy().astype(np.float16) for row in rows}

    @staticmethod
    async def remove_stale(*, older_than_s: float, limit: int) -> int:
        """Drop what belongs to documents that were given up; how many rows those were."""
        rows = await fetch(
            """
            DELETE FROM embedded_texts WHERE id IN (
                SELECT e.id FROM embedded_texts AS e JOIN documents AS d ON d.id = e.document_id
                WHERE e.created_at < now() - make_interval(secs => $1) AND d.status IN ('COMPLETED', 'FAILED')
                LIMIT $2
            ) RETURNING id
            """,
            older_than_s,
            limit,
        )
        return len(rows)


def key_of(space_id: int, text: str) -> bytes:
    """Names a text's vector, whoever asks for it."""
    return hashlib.sha256(f"{space_id}\0{text}".encode()).digest()
