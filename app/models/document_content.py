"""Small contents, kept beside their documents."""

from __future__ import annotations

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
    async def read(document_id: UUID) -> bytes | None:
        """The bytes; None when there are none (any more)."""
        rows = await fetch("SELECT content FROM document_contents WHERE document_id = $1", document_id)
        return rows[0]["content"] if rows else None
