"""A place in the list of documents that stays put while documents come and go."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from typing import NamedTuple, Self
from uuid import UUID

from tortoise.expressions import Q

from app.errors import InvalidRequest
from app.models.document import Document


class Cursor(NamedTuple):
    """Just after this document."""

    created_at: datetime
    document_id: UUID

    @classmethod
    def after(cls, document: Document) -> Self:
        return cls(document.created_at, document.id)

    def encode(self) -> str:
        """Opaque, and safe in a URL."""
        plain = f"{self.created_at.isoformat()} {self.document_id.hex}"
        return base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, cursor: str) -> Self:
        """
        Raises:
            InvalidRequest: It is none of ours.
        """
        try:
            plain = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
            created_at, document_id = plain.split(" ")
            moment = datetime.fromisoformat(created_at)
            if moment.tzinfo is None:
                raise ValueError("no time zone")
            return cls(moment.astimezone(UTC), UUID(document_id))
        except (ValueError, OverflowError, binascii.Error) as error:
            raise InvalidRequest("The cursor is none that this service gave out.") from error

    def older(self) -> Q:
        """What comes after this place, newest first."""
        return Q(created_at__lt=self.created_at) | Q(created_at=self.created_at, id__lt=self.document_id)
