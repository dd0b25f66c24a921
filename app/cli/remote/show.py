"""`sluice show`: everything about one document."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated
from uuid import UUID

import typer
from rich.text import Text

from app.cli.remote.command import Session
from app.cli.remote.completion import document_ids
from app.cli.remote.output import STAGES, Output, clean, coloured, moment, seconds_since
from app.client import Attempt, Document, DocumentError
from app.core import wording


def show(
    context: typer.Context,
    document_id: Annotated[
        UUID, typer.Argument(metavar="ID", help="Of a document.", autocompletion=document_ids)
    ],
) -> None:
    """Show a document: how it went, and why it failed."""
    session = Session.of(context)
    with session.sluice() as sluice:
        document = sluice.document(document_id)
        attempts = sluice.attempts(document_id)
    if session.out.as_json:
        told = [attempt.model_dump(mode="json") for attempt in attempts]
        session.out.json({**document.model_dump(mode="json"), "attempts": told})
        return
    session.out.pairs((Text(name, style="dim"), said) for name, said in facts(document))
    _show_error(session.out, reason_of(document, attempts))
    _show_attempts(session.out, attempts)


def facts(document: Document) -> Iterator[tuple[str, str | Text]]:
    """What is known about it, in the order in which one wants to know it."""
    yield "document", clean(document.name)
    yield "id", str(document.document_id)
    yield "status", _status(document)
    yield "collection", clean(document.collection)
    if document.external_id:
        yield "external id", f"{clean(document.external_id)}, version {document.version}"
    yield "content", f"{document.media_type}, {wording.size(document.size_bytes)}, sha256 {document.sha256}"
    if document.chunk_count:
        yield "chunks", f"{document.chunk_count:,}"
    if document.metadata:
        yield "metadata", clean(json.dumps(document.metadata, ensure_ascii=False))
    for warning in document.warnings:
        yield "warning", Text(clean(warning), style="yellow")
    yield "taken in", moment(document.created_at)
    if document.completed_at:
        took = wording.duration(max((document.completed_at - document.created_at).total_seconds(), 0))
        yield (
            "completed",
            f"{moment(document.completed_at)}{f', after {took}' if document.version == 1 else ''}",
        )
    if document.next_attempt_at:
        yield "next try", moment(document.next_attempt_at)


def _status(document: Document) -> Text:
    text = coloured(document.status)
    if document.stage:
        text.append(f", {document.stage}")
    if document.progress:
        of = f" of {document.progress.total:,}" if document.progress.total else ""
        text.append(f", {document.progress.done:,}{of} {document.progress.unit}")
    if document.searchable and document.status != "COMPLETED":
        text.append(", the version before is found meanwhile")
    return text


def reason_of(document: Document, attempts: Sequence[Attempt]) -> DocumentError | None:
    """Why it is FAILED, or waits for its next try: of the latter, only the last attempt knows."""
    if document.next_attempt_at and attempts:
        return attempts[-1].error
    return document.error


def _show_error(out: Output, error: DocumentError | None) -> None:
    if error is None:
        return
    out.say()
    out.say(Text.assemble((error.code, "bold red"), f": {clean(error.message)}"))
    out.say(clean(error.hint))


def _show_attempts(out: Output, attempts: list[Attempt]) -> None:
    if not attempts:
        return
    out.say()
    columns = ("attempt", "version", "started", "took", "outcome", "worker", "stages")
    out.table(columns, [row(attempt) for attempt in attempts], right="attempt version took")


def row(attempt: Attempt) -> list[str | Text]:
    """An attempt in a line: how it ended, and how long each of its stages took."""
    ended = attempt.ended_at
    took = (ended - attempt.started_at).total_seconds() if ended else seconds_since(attempt.started_at)
    stages = ", ".join(f"{stage} {wording.duration(s)}" for stage, s in _in_order(attempt.stage_seconds))
    why = f"{attempt.error.code} while {attempt.stage}" if attempt.error else ""
    return [
        str(attempt.attempt),
        str(attempt.version),
        moment(attempt.started_at),
        wording.duration(max(took, 0)),
        attempt.outcome or "under way",
        clean(attempt.worker),
        "; ".join(filter(None, (stages, why))),
    ]


def _in_order(seconds: Mapping[str, float]) -> list[tuple[str, float]]:
    """As a document comes to them: JSON of PostgreSQL has them by the lengths of their names."""
    places = {stage: place for place, stage in enumerate(STAGES)}
    return sorted(seconds.items(), key=lambda each: places.get(each[0], len(places)))
