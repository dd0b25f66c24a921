"""`sluice amend`: title and metadata of a document."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import typer

from app.cli.remote.command import Session
from app.cli.remote.completion import document_ids
from app.cli.remote.ingest import metadata_of
from app.cli.remote.options import WrongCall
from app.cli.remote.show import facts
from app.client.unset import UNSET


def amend(
    context: typer.Context,
    document_id: Annotated[
        UUID, typer.Argument(metavar="ID", help="Of a document.", autocompletion=document_ids)
    ],
    *,
    title: Annotated[str | None, typer.Option(help="What it is called; an empty one removes it.")] = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option(
            "--metadata",
            "-m",
            metavar="KEY=VALUE",
            help="Set this one, as text; or several, as a JSON object. Can be repeated.",
        ),
    ] = None,
    remove: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="Remove this one. Can be repeated.")
    ] = None,
) -> None:
    """Change a document's title and metadata: what is not named stays.

    It counts for searches at once; nothing is read or embedded again.
    """
    session = Session.of(context)
    changes: dict[str, Any] = {**(metadata_of(metadata or ()) or {}), **dict.fromkeys(remove or ())}
    if title is None and not changes:
        raise WrongCall("There is nothing to change: give --title, --metadata or --remove.")
    with session.sluice() as sluice:
        document = sluice.amend(
            document_id,
            title=UNSET if title is None else title or None,
            metadata=changes or UNSET,
        )
    if session.out.as_json:
        session.out.json(document.model_dump(mode="json"))
    else:
        session.out.pairs(facts(document))
