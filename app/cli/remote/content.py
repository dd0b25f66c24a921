"""`sluice content`: what was sent, or what was read in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from app.cli.remote.command import PATIENT, Session
from app.cli.remote.completion import document_ids
from app.cli.remote.options import WrongCall
from app.client import Sluice
from app.client.errors import NotSearchable
from app.core import wording

#: All else that is not printable could steer a terminal.
KEPT = "\n\t"


def content(
    context: typer.Context,
    document_id: Annotated[
        UUID, typer.Argument(metavar="ID", help="Of a document.", autocompletion=document_ids)
    ],
    *,
    as_text: Annotated[
        bool, typer.Option("--text", help="What was read in it, as UTF-8, in place of what was sent.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", dir_okay=False, help="Write it to a file."),
    ] = None,
) -> None:
    """Print what was sent, or the text that was read in it.

    Bytes are as they were, also into a pipe. On a terminal only text is printed.
    """
    session = Session.of(context)
    out = session.out
    if out.as_json and not (output or as_text):
        raise WrongCall("Bytes are no JSON: give --text or --output with it.")
    with session.sluice(PATIENT) as sluice, _told_in_commands(document_id):
        if output is not None:
            size = _save(sluice, document_id, output, as_text=as_text)
            if out.as_json:
                out.json({"document_id": str(document_id), "path": str(output), "size_bytes": size})
            else:
                out.note(f"{output}: {wording.size(size)}")
            return
        if out.results.is_terminal and not as_text:
            _require_text(sluice.document(document_id).media_type)
        found = sluice.content(document_id, format="text" if as_text else "original")
    if out.as_json:
        out.json({"document_id": str(document_id), "text": found.decode()})
    elif out.results.is_terminal:
        text = found.decode("utf-8", "replace").removesuffix("\n")
        out.say("".join(c if c.isprintable() or c in KEPT else "�" for c in text))
    else:
        out.raw(found)


@contextmanager
def _told_in_commands(document_id: UUID) -> Iterator[None]:
    """The server's hint is a call of the API."""
    try:
        yield
    except NotSearchable as error:
        error.hint = f"`sluice show {document_id}` tells how it gets on, or what to do about it."
        raise


def _require_text(media_type: str) -> None:
    if not media_type.startswith("text/") and media_type != "application/json":
        raise WrongCall(f"It is {media_type}, which no terminal shows: give --text, or --output FILE.")


def _save(sluice: Sluice, document_id: UUID, path: Path, *, as_text: bool) -> int:
    """Write all of it or nothing: a file that was there before stays until the new one is whole."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        if as_text:
            part.write_bytes(sluice.content(document_id, format="text"))
        else:
            sluice.download(document_id, part)
        size = part.stat().st_size
        part.replace(path)
    except OSError as error:
        raise WrongCall(f"{error.filename}: {error.strerror}.") from None
    finally:
        part.unlink(missing_ok=True)
    return size
