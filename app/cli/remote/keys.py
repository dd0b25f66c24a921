"""`sluice keys`: who is let in, and to what."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

import typer
from rich.text import Text

from app.cli.remote.command import ServerCommand, Session
from app.cli.remote.completion import collection_names
from app.cli.remote.exits import ExitCode
from app.cli.remote.options import AGES, WrongCall, YesOption
from app.cli.remote.output import clean, moment
from app.cli.remote.steering import confirm
from app.client import Key

keys = typer.Typer(
    name="keys",
    help="List, make and remove keys that open some collections, or all.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@keys.command("list", cls=ServerCommand)
def list_all(context: typer.Context) -> None:
    """List all: what each opens, until when, and when it was used last."""
    session = Session.of(context)
    with session.sluice() as sluice:
        found = sluice.keys()
    if session.out.as_json:
        session.out.json([each.model_dump(mode="json") for each in found])
        return
    columns = ("id", "name", "begins", "opens", "may", "expires", "used")
    session.out.table(columns, [_row(each) for each in found], keeps_first=True)


def _row(key: Key) -> list[str | Text]:
    has_expired = key.expires_at is not None and key.expires_at <= datetime.now(UTC)
    return [
        str(key.key_id),
        clean(key.name),
        f"{key.begins}…",
        opened(key),
        "write" if key.may_write else "read",
        Text(moment(key.expires_at) or "never", style="red" if has_expired else ""),
        moment(key.last_used_at) or "never",
    ]


def opened(key: Key) -> str:
    """Its collections, in words."""
    return "everything" if key.collections is None else ", ".join(map(clean, key.collections))


@keys.command(cls=ServerCommand)
def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="For people: who has it, and what for.")],
    *,
    collection: Annotated[
        list[str] | None,
        typer.Option(
            "--collection",
            "-c",
            help="That it opens, there already or not; can be repeated. Without, all.",
            autocompletion=collection_names,
        ),
    ] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="It changes nothing.")] = False,
    expires: Annotated[
        str | None, typer.Option(help="When it ends: in 12h, 90d, or at 2027-01-31. Without, never.")
    ] = None,
) -> None:
    """Make one. Its secret is printed now, and never again."""
    expires_at = None if expires is None else moment_to_come(expires)
    session = Session.of(context)
    with session.sluice() as sluice:
        made = sluice.create_key(name, collections=collection, may_write=not read_only, expires_at=expires_at)
    if session.out.as_json:
        session.out.json(made.model_dump(mode="json"))
        return
    ends = f" until {moment(made.expires_at)}" if made.expires_at else ""
    does = "writes to" if made.may_write else "reads"
    session.out.note(f"{made.key_id} {does} {opened(made)}{ends}. This is its secret, shown only now:")
    session.out.say(made.secret)


def moment_to_come(text: str) -> datetime:
    """A moment as `2027-01-31` or `2027-01-31T09:00` (of this machine's time), or so far ahead: `12h`, `90d`.

    Raises:
        WrongCall: It is neither, or past.
    """
    number, unit = text[:-1], text[-1:]
    now = datetime.now(UTC)
    try:
        if number.isdecimal() and unit in AGES:
            at = now + timedelta(**{AGES[unit]: int(number)})
        else:
            at = datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise WrongCall(f"{text!r} is no time: give one like 12h, 90d or 2027-01-31.") from None
    if at <= now:
        raise WrongCall(f"{text!r} is past.")
    return at


@keys.command(cls=ServerCommand)
def remove(
    context: typer.Context,
    key_id: Annotated[UUID, typer.Argument(metavar="ID", help="Of the key, as `list` shows it.")],
    *,
    yes: YesOption = False,
) -> None:
    """Have one open nothing any more, within five seconds everywhere."""
    session = Session.of(context)
    with session.sluice() as sluice:
        key = sluice.key(key_id)
        if not confirm(f"Remove the key of {clean(key.name)}, which opens {opened(key)}", yes=yes):
            session.out.note("Nothing was done.")
            raise typer.Exit(ExitCode.FAILED)
        sluice.delete_key(key_id)
    if session.out.as_json:
        session.out.json({"removed": str(key_id)})
    else:
        session.out.say(f"The key of {clean(key.name)} opens nothing any more.")
