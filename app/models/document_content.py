"""Small contents, kept beside their documents."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from tortoise import Model, fields

from app.models.document import Document
from app.models.sql import fetch


class DocumentContent(Model):
    """The bytes of a small document: durable in the very commit that accepts it, with no second system.

    Larger ones go to the storage under `Document.content_key`.
    """

    document: fields.OneToOneRelation[Document] = fields.OneToOneField(
        "models.Document", primary_key=True, related_name="inline_content", on_delete=fields.CASCADE
    )
    content = fields.BinaryField()

    class Meta:
        table = "document_contents"

    @staticmethod
    async def read(document_ids: Sequence[UUID]) -> list[bytes | None]:
        """The bytes of each; None where there are none (any more)."""
        rows = await fetch(
            "SELECT document_id, content FROM document_contents WHERE document_id = ANY($1)", document_ids
        )
        contents = {row["document_id"]: row["content"] for row in rows}
        return [contents.get(document_id) for document_id in document_ids]
