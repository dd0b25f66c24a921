"""What `POST /ingest` takes and answers."""

from __future__ import annotations

from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, model_validator
from pydantic_core import to_json

from app.models.document import DocumentStatus

#: Of a document's metadata, as JSON.
MAX_METADATA_BYTES = 16 * 1024


def _storable(text: str) -> str:
    # PostgreSQL's text cannot hold the one, UTF-8 not the other.
    if "\x00" in text:
        raise ValueError("must not contain NUL characters")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("must not contain lone surrogates")
    return text


StorableText = Annotated[str, AfterValidator(_storable)]


class IngestFields(BaseModel):
    """What may be said about a document, whichever way its content comes."""

    model_config = ConfigDict(extra="forbid")

    title: StorableText | None = Field(default=None, max_length=2000)
    external_id: StorableText | None = Field(
        default=None,
        min_length=1,
        max_length=1024,
        description="Your name for the document. Posting it again with other content makes a new version.",
    )
    collection: StorableText = Field(
        default="default", min_length=1, max_length=200, description="Where it is kept and searched."
    )
    metadata: dict[str, JsonValue] = Field(default_factory=dict, description="Anything; comes back in hits.")

    @model_validator(mode="after")
    def _metadata_is_small_and_storable(self) -> Self:
        written = to_json(self.metadata)
        if len(written) > MAX_METADATA_BYTES:
            raise ValueError(f"metadata must be at most {MAX_METADATA_BYTES} bytes of JSON")
        if rb"\u0000" in written:
            raise ValueError("metadata must not contain NUL characters")
        return self


class IngestRequest(IngestFields):
    """A document as text. `content` and `text` are two names for the same; give one of them."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "text": "The upper gate opens at six, the lower one when the chamber is full.",
                    "title": "Gate times",
                    "metadata": {"season": "summer"},
                }
            ]
        }
    )

    content: StorableText | None = Field(default=None, min_length=1)
    text: StorableText | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _has_one_text(self) -> Self:
        if (self.content is None) == (self.text is None):
            raise ValueError("give either content or text")
        return self

    @property
    def body(self) -> str:
        return self.content or self.text or ""


class IngestResponse(BaseModel):
    """The document is safe; `GET /documents/{document_id}` tells how it goes on."""

    document_id: UUID
    status: DocumentStatus

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"document_id": "0199c0de-7a11-7c4e-8a55-0242ac120002", "status": "PENDING"}]
        }
    )


def example_of(model: type[BaseModel]) -> Any:
    """The model's first example, for the OpenAPI document."""
    return model.model_json_schema()["examples"][0]
