"""Moments as people and programs write them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator

#: For the descriptions of what takes a moment.
WRITTEN = "A date alone is its beginning, and a time without a zone is UTC."


def in_utc(moment: datetime) -> datetime:
    """The moment in UTC, if a calendar has it there. The server's own zone is nothing that callers know."""
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("must be a date of this calendar") from None


Moment = Annotated[datetime, AfterValidator(in_utc)]
