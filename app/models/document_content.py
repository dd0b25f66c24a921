"""Small contents, kept beside their documents."""

from __future__ import annotations

from tortoise import Model, fields

from app.models.document import Document


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
