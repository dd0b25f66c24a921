"""Places in lists that stay put while rows come and go."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from typing import NamedTuple, Self
from uuid import UUID

from app.errors import InvalidRequest
from app.models.document import Document
from app.models.listing import Place

#: What no ordinal or index comes near, and the columns can still be compared with.
MAX_NUMBER = 2**31 - 1


class Cursor(Place):
    """Just after this document."""

    __slots__ = ()

    @classmethod
    def after(cls, document: Document) -> Self:
        return cls(document.created_at, document.id)

    def encode(self) -> str:
        """Opaque, and safe in a URL."""
        return _encoded(self.created_at.isoformat(), self.document_id.hex)

    @classmethod
    def decode(cls, cursor: str) -> Self:
        """
        Raises:
            InvalidRequest: It is none of ours.
        """
        try:
            created_at, document_id = _decoded(cursor)
            moment = datetime.fromisoformat(created_at)
            if moment.tzinfo is None:
                raise ValueError("no time zone")
            return cls(moment.astimezone(UTC), UUID(document_id))
        except (ValueError, OverflowError) as error:
            raise InvalidRequest(NONE_OF_OURS) from error


class ChunkCursor(NamedTuple):
    """Just after this chunk of this version."""

    version: int
    ordinal: int

    def encode(self) -> str:
        """Opaque, and safe in a URL."""
        return _encoded(str(self.version), str(self.ordinal))

    @classmethod
    def decode(cls, cursor: str) -> Self:
        """
        Raises:
            InvalidRequest: It is none of ours.
        """
        try:
            version, ordinal = _decoded(cursor)
            return cls(_number(version), _number(ordinal))
        except ValueError as error:
            raise InvalidRequest(NONE_OF_OURS) from error


class ItemCursor(NamedTuple):
    """Just after this item of a batch."""

    index: int  # type: ignore[assignment]  # Nobody looks for items in a cursor.

    def encode(self) -> str:
        """Opaque, and safe in a URL."""
        return _encoded("item", str(self.index))

    @classmethod
    def decode(cls, cursor: str) -> Self:
        """
        Raises:
            InvalidRequest: It is none of ours.
        """
        try:
            kind, index = _decoded(cursor)
            if kind != "item":
                raise ValueError("of something else")
            return cls(_number(index))
        except ValueError as error:
            raise InvalidRequest(NONE_OF_OURS) from error


NONE_OF_OURS = "The cursor is none that this service gave out."


def _encoded(*parts: str) -> str:
    return base64.urlsafe_b64encode(" ".join(parts).encode()).decode().rstrip("=")


def _decoded(cursor: str) -> list[str]:
    try:
        return base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().split(" ")
    except binascii.Error as error:
        raise ValueError("not base64") from error


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= MAX_NUMBER):
        raise ValueError("not a number")
    return int(text)
