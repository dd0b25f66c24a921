"""What `POST /ingest` takes and answers."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, model_validator
from pydantic_core import to_json

from app.models.document import DocumentStatus

#: Of a document's metadata: as JSON, in objects within objects, and in all of them together.
MAX_METADATA_BYTES = 16 * 1024
MAX_METADATA_DEPTH = 16
MAX_METADATA_KEYS = 500

#: What a name may hide or lie with: control and format characters (direction marks among them), line
#: separators, halves of characters, and letters that are blank. The two joiners stay between characters
#: outside ASCII, where scripts and emoji need them.
_BLANK_LETTERS = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
_FOREIGN = r"[^\x00-\x7f\u200c\u200d]"
_JOINERS = re.compile(rf"(?<!{_FOREIGN})[\u200c\u200d]|[\u200c\u200d](?!{_FOREIGN})")
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def storable(text: str) -> str:
    """The text, if PostgreSQL and UTF-8 can hold it."""
    if "\x00" in text:
        raise ValueError("must not contain NUL characters")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must not contain lone surrogates") from None
    return text


def is_hidden(character: str) -> bool:
    """Whether a person who looks at a name cannot see that it is there."""
    if character in "\u200c\u200d":
        return False
    return unicodedata.category(character) in _HIDDEN_CATEGORIES or character in _BLANK_LETTERS


def shown(name: str) -> str:
    """A name as it may be shown: composed (NFC), on one line, with nothing invisible in it."""
    if name.isascii() and name.isprintable():
        return name.strip()
    visible = "".join(" " if c.isspace() else c for c in name if c.isspace() or not is_hidden(c))
    return unicodedata.normalize("NFC", _JOINERS.sub("", visible)).strip()


def visible(name: str) -> str:
    """The name, if all of it can be seen; for names that tell things apart, so must not be mended."""
    if any(is_hidden(character) for character in name):
        raise ValueError("must not contain control, direction or invisible characters")
    return name


#: `not_blank`, as JSON Schema says it.
NOT_BLANK: dict[str, JsonValue] = {"pattern": r"\S"}


def not_blank(text: str) -> str:
    """The text, if there is anything to be seen in it."""
    if not text.strip():
        raise ValueError("must not be blank")
    return text


def at_most_bytes(limit: int) -> Callable[[str], str]:
    """For names that are indexed: an entry of an index has less than 2,704 bytes."""

    def check(text: str) -> str:
        if len(text.encode("utf-8", "surrogatepass")) > limit:
            raise ValueError(f"must be at most {limit} bytes of UTF-8")
        return text

    return check


def _check_json(value: JsonValue, *, depth: int = 0) -> int:
    """Refuse what PostgreSQL or JSON cannot hold, and what is nested too deep; the number of its keys."""
    if depth > MAX_METADATA_DEPTH:
        raise ValueError(f"metadata must be at most {MAX_METADATA_DEPTH} levels deep")
    if isinstance(value, str):
        storable(value)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("metadata must not contain NaN or infinite numbers, which JSON does not have")
    elif isinstance(value, list):
        return sum(_check_json(item, depth=depth + 1) for item in value)
    elif isinstance(value, dict):
        for key in value:
            storable(key)
        return len(value) + sum(_check_json(item, depth=depth + 1) for item in value.values())
    return 0


def no_step(name: str) -> str:
    """The name, if it can be the last part of an address."""
    if name in {".", ".."}:
        raise ValueError("must not be `.` or `..`, which lead elsewhere in an address")
    return name


StorableText = Annotated[str, AfterValidator(storable)]
CollectionName = Annotated[
    StorableText,
    AfterValidator(not_blank),
    AfterValidator(visible),
    AfterValidator(no_step),
    AfterValidator(at_most_bytes(200)),
]
Title = Annotated[StorableText, AfterValidator(shown)]
MAX_TITLE_CHARS = 2000


def check_metadata(metadata: Mapping[str, Any]) -> None:
    """
    Raises:
        ValueError: They are too many, too large, or nothing that PostgreSQL and JSON can hold.
    """
    if _check_json(dict(metadata)) > MAX_METADATA_KEYS:
        raise ValueError(f"metadata must have at most {MAX_METADATA_KEYS} keys in all")
    if len(to_json(metadata)) > MAX_METADATA_BYTES:
        raise ValueError(f"metadata must be at most {MAX_METADATA_BYTES} bytes of JSON")


class IngestFields(BaseModel):
    """What may be said about a document, whichever way its content comes."""

    model_config = ConfigDict(extra="forbid")

    title: Title | None = Field(
        default=None,
        max_length=MAX_TITLE_CHARS,
        description="Shown on one line; the document's own when left out.",
    )
    external_id: (
        Annotated[StorableText, AfterValidator(not_blank), AfterValidator(at_most_bytes(1024))] | None
    ) = Field(
        default=None,
        description="Your name for the document. Posting it again with other content makes a new version.",
    )
    collection: CollectionName = Field(
        default="default", description="Where it is kept and searched.", json_schema_extra=NOT_BLANK
    )
    metadata: dict[str, JsonValue] = Field(default_factory=dict, description="Anything; comes back in hits.")

    @model_validator(mode="after")
    def _metadata_is_small_and_storable(self) -> Self:
        check_metadata(self.metadata)
        return self


class IngestRequest(IngestFields):
    """A document as text. `content` and `text` are two names for the same; give one of them."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": ["text"]}, {"required": ["content"]}],
            "examples": [
                {
                    "text": "The upper gate opens at six, the lower one when the chamber is full.",
                    "title": "Gate times",
                    "metadata": {"season": "summer"},
                }
            ],
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
