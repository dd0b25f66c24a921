"""How keys look on the wire."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Self
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from app.models.api_key import ApiKey
from app.schemas.ingest import CollectionName, StorableText, not_blank, visible

MAX_NAME_CHARS = 200
MAX_COLLECTIONS = 100


def _to_come(moment: datetime) -> datetime:
    if moment <= datetime.now(UTC):
        raise ValueError("must lie in the future")
    return moment


Name = Annotated[
    StorableText,
    Field(max_length=MAX_NAME_CHARS, description="For people: who has it, and what for."),
    AfterValidator(visible),
    AfterValidator(not_blank),
]
Collections = Annotated[
    list[CollectionName],
    Field(
        min_length=1,
        max_length=MAX_COLLECTIONS,
        description="Those that it opens, there already or not; null: all, also those to come.",
    ),
]


class KeyRequest(BaseModel):
    """What a key is to open."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "importer of the wiki", "collections": ["wiki"]}]},
    )

    name: Name
    collections: Collections | None = None
    may_write: bool = Field(default=True, description="False: it shows what is there, and changes nothing.")
    expires_at: Annotated[AwareDatetime, AfterValidator(_to_come)] | None = None


class KeyResponse(BaseModel):
    """A key, but for its secret."""

    key_id: UUID
    name: str
    begins: str = Field(description="The first characters of its secret, to know it by.")
    collections: list[str] | None
    may_write: bool
    expires_at: datetime | None
    created_at: datetime
    last_used_at: datetime | None = Field(description="To the minute.")

    @classmethod
    def of(cls, key: ApiKey) -> Self:
        """From its row."""
        return cls(
            key_id=key.id,
            name=key.name,
            begins=key.begins,
            collections=None if key.collections is None else list(key.collections),
            may_write=key.may_write,
            expires_at=key.expires_at,
            created_at=key.created_at,
            last_used_at=key.last_used_at,
        )


class KeyCreated(KeyResponse):
    """A new key."""

    secret: str = Field(description="What callers send. It is shown only here, once.")

    @classmethod
    def with_secret(cls, key: ApiKey, secret: str) -> Self:
        """From its row, and what is in no row."""
        return cls(**KeyResponse.of(key).model_dump(), secret=secret)


class KeysResponse(BaseModel):
    """All keys."""

    keys: list[KeyResponse]
