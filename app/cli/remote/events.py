"""`sluice events`: every change, line by line, over restarts of the server."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import typer
from rich.text import Text

from app.cli.remote.command import Session
from app.cli.remote.completion import collection_names, document_ids
from app.cli.remote.exits import ExitCode
from app.cli.remote.options import StatusName
from app.cli.remote.output import Output, clean, coloured
from app.client import DocumentEvent, Event, ProgressEvent, Ready, Retries


def events(
    context: typer.Context,
    document_id: Annotated[
        UUID | None,
        typer.Argument(metavar="[ID]", help="Of a document: until it is final.", autocompletion=document_ids),
    ] = None,
    *,
    collection: Annotated[
        list[str] | None,
        typer.Option("--collection", "-c", help="Only of these.", autocompletion=collection_names),
    ] = None,
    status: Annotated[
        list[StatusName] | None,
        typer.Option("--status", "-s", case_sensitive=False, help="Only when they come to these."),
    ] = None,
    batch: Annotated[UUID | None, typer.Option(help="Only of this batch.")] = None,
    after: Annotated[str | None, typer.Option(help="The `id` of an event: go on after it.")] = None,
) -> None:
    """Tell every change of documents as it happens, until Ctrl-C.

    Of one document: until it is final; the exit code is 1 when it FAILED.
    With --json, each is a line.
    """
    session = Session.of(context)
    last: Event | None = None
    with session.sluice(LASTING) as sluice:
        for event in sluice.watch(
            document_id,
            collections=collection,
            statuses=None if status is None else [each.value for each in status],
            batch_id=batch,
            last_event_id=after,
        ):
            _tell(session.out, event)
            last = event
    if isinstance(last, DocumentEvent) and last.status == "FAILED":
        raise typer.Exit(ExitCode.FAILED)


#: A server that restarts is waited for, some five minutes; one that is not there at first is not.
LASTING = Retries(tries=40, wait_for_server=False)


def _tell(out: Output, event: Event) -> None:
    if out.as_json:
        kind = {Ready: "ready", DocumentEvent: "document", ProgressEvent: "progress"}[type(event)]
        out.json_line({"event": kind, **event.model_dump(mode="json", exclude_none=True)})
    elif isinstance(event, Ready):
        out.note("Listening; Ctrl-C ends it.", style="dim")
    else:
        out.results.print(line(event), soft_wrap=True)


def line(event: DocumentEvent | ProgressEvent) -> Text:
    """A change on one line."""
    if isinstance(event, ProgressEvent):
        of = f" of {event.progress.total:,}" if event.progress.total else ""
        said = f"{event.stage or ''} {event.progress.done:,}{of} {event.progress.unit}"
        return Text.assemble(
            (_clock(datetime.now(UTC)), "dim"), f" {said}  ", (str(event.document_id), "dim")
        )
    name = event.external_id or event.title or event.source_name
    return Text.assemble(
        (_clock(event.at or datetime.now(UTC)), "dim"),
        " ",
        "DELETED" if event.deleted else coloured(event.status),
        f" {event.stage}" if event.stage else "",
        f"  {clean(name)}" if name else "",
        (f"  {event.error.code}: {clean(event.error.message)}" if event.error else "", "red"),
        (f"  {event.document_id}", "dim"),
    )


def _clock(at: datetime) -> str:
    return at.astimezone().strftime("%H:%M:%S")
