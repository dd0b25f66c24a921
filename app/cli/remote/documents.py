"""`sluice documents`: a list with the filters of the API."""

from __future__ import annotations

from itertools import islice
from typing import Annotated
from uuid import UUID

import typer
from rich.text import Text

from app.cli.remote.command import Session, require_collections
from app.cli.remote.options import CollectionOption, StatusName, moment_or_age, require_codes
from app.cli.remote.output import Output, clean, coloured, seconds_since
from app.client import Document
from app.core import wording

COLUMNS = ("id", "status", "age", "size", "chunks", "document")

#: On terminals with fewer columns than WIDE.
NARROW = ("id", "status", "age", "document")
WIDE = 110


def documents(
    context: typer.Context,
    *,
    status: Annotated[
        list[StatusName] | None,
        typer.Option("--status", "-s", case_sensitive=False, help="Only these; can be repeated."),
    ] = None,
    collection: CollectionOption = None,
    q: Annotated[
        str | None, typer.Option("--name", "-q", help="Only with this in title, file name or external id.")
    ] = None,
    external_id: Annotated[str | None, typer.Option(help="Only what was given this name.")] = None,
    prefix: Annotated[str | None, typer.Option(help="Only external ids that begin so: a folder.")] = None,
    media_type: Annotated[str | None, typer.Option(help="Only of this type, like application/pdf.")] = None,
    code: Annotated[str | None, typer.Option(help="Only FAILED ones with this error code.")] = None,
    batch: Annotated[UUID | None, typer.Option(help="Only what came with this batch.")] = None,
    since: Annotated[str | None, typer.Option(help="Taken in since: 2026-11-24, or 2d ago.")] = None,
    before: Annotated[str | None, typer.Option(help="Taken in before.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many.")] = 50,
    every: Annotated[bool, typer.Option("--all", help="All there are, whatever --limit says.")] = False,
) -> None:
    """List documents, newest first."""
    session = Session.of(context)
    wanted = None if every else limit
    with session.sluice() as sluice:
        found = sluice.documents(
            status=None if status is None else [each.value for each in status],
            collection=collection,
            external_id=external_id,
            external_id_prefix=prefix,
            media_type=media_type,
            q=q,
            created_after=None if since is None else moment_or_age(since),
            created_before=None if before is None else moment_or_age(before),
            error_code=code,
            batch_id=batch,
            page_size=min((wanted or 500) + 1, 500),
        )
        if every and not session.out.results.is_terminal:
            document = None
            for document in found:
                _tell_one(session.out, document)
            if document is None:
                require_collections(sluice, collection)
                require_codes(None if code is None else [code])
            return
        page = list(islice(found, wanted))
        if not page:
            require_collections(sluice, collection)
            require_codes(None if code is None else [code])
        has_more = wanted is not None and next(found, None) is not None
    _tell(session.out, page, has_more=has_more)


def _tell_one(out: Output, document: Document) -> None:
    """As it comes: there may be millions."""
    if out.as_json:
        out.json_line(document.model_dump(mode="json"))
    else:
        out.say("\t".join(str(cell) for cell in row(document)))


def _tell(out: Output, page: list[Document], *, has_more: bool) -> None:
    if out.as_json:
        out.json([document.model_dump(mode="json") for document in page])
        return
    if not page:
        out.note("No documents.")
        return
    columns = COLUMNS if out.results.width >= WIDE else NARROW
    rows = [dict(zip(COLUMNS, row(document), strict=True)) for document in page]
    out.table(columns, [[cells[name] for name in columns] for cells in rows], right="age size chunks")
    if has_more:
        out.note(f"There are more: --limit {len(page) * 10}, or --all.", style="dim")


def row(document: Document) -> list[str | Text]:
    """A document in a line; of one that failed, also its code."""
    name = clean(document.external_id or document.name)
    if document.title and not document.external_id and document.source_name:
        name = f"{name} ({clean(document.source_name)})"  # Two of one title are told apart.
    told = f"{name}: {document.error.code}" if document.error else name
    return [
        str(document.document_id),
        coloured(document.status),
        wording.duration(seconds_since(document.created_at)),
        wording.size(document.size_bytes),
        f"{document.chunk_count:,}",
        told if document.collection == "default" else f"{clean(document.collection)}/{told}",
    ]
