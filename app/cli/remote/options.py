"""Options that several commands have, and how their values are read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from enum import StrEnum
from typing import Annotated, Any

import typer

from app.cli.remote.completion import collection_names
from app.errors import ServiceError


class StatusName(StrEnum):
    """The four statuses."""

    PENDING = "PENDING"
    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


class WrongCall(typer.BadParameter):
    """It cannot be carried out as it was called; nothing was done."""

    def format_message(self) -> str:
        """The sentence alone: it says itself what is wrong."""
        return self.message


def guess(name: str, known: Iterable[str]) -> str:
    """A sentence with the one that was probably meant by a name; empty when none is like it."""
    found = get_close_matches(name, list(known), n=1)
    return f" Perhaps {found[0]} is meant." if found else ""


def require_codes(codes: Iterable[str] | None) -> None:
    """To be called when nothing was found that failed with them, which a code that was mistyped looks like.

    Raises:
        WrongCall: There is no such code.
    """
    known = _codes_of(ServiceError)
    for code in codes or ():
        if code not in known:
            raise WrongCall(f"There is no code {code!r}.{guess(code, known)} docs/errors.md has them all.")


def _codes_of(kind: type[ServiceError]) -> set[str]:
    return {kind.code}.union(*map(_codes_of, kind.__subclasses__()))


AGES = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def json_object(text: str) -> dict[str, Any]:
    """An option's value that is a JSON object.

    Raises:
        WrongCall: It is something else.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise WrongCall(f"{text!r} is no JSON: {error}.") from None
    if not isinstance(value, dict):
        raise WrongCall(f'{text!r} is no JSON object: give one like {{"field": "value"}}.')
    return value


def moment_or_age(text: str) -> datetime:
    """A moment as `2026-11-24` or `2026-11-24T09:00` (of this machine's time), or as long ago as `90m`, `2d`.

    Raises:
        WrongCall: It is neither.
    """
    number, unit = text[:-1], text[-1:]
    if number.isdigit() and unit in AGES:
        return datetime.now(UTC) - timedelta(**{AGES[unit]: int(number)})
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        raise WrongCall(
            f"{text!r} is no time: give one like 2026-11-24, 2026-11-24T09:00, 90m or 2d."
        ) from None


CollectionOption = Annotated[
    str | None,
    typer.Option("--collection", "-c", help="Only of this collection.", autocompletion=collection_names),
]
CodeOption = Annotated[
    list[str] | None, typer.Option("--code", help="Only FAILED ones with this error code; can be repeated.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
