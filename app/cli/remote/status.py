"""`sluice status`: how the whole server is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import typer
from rich.text import Text

from app.cli.remote.command import Session
from app.cli.remote.exits import ExitCode
from app.cli.remote.output import COLOURS, clean, seconds_since
from app.client import Retries, SluiceError, Stats
from app.client.answers import Worker
from app.core import wording

NO_WORKERS = Text(
    "none is alive: start one (`./sluice up`, or `dramatiq app.jobs.ingestion_job`)", style="red"
)

#: Of the documents that it holds; --json has all of them.
SHOWN_OF_A_WORKER = 5

#: How it is now: not how it is after some tries.
ONCE = Retries(tries=1, wait_for_server=False)


def status(context: typer.Context) -> None:
    """Tell how the server is: documents, queue, workers, sizes.

    The exit code is 0 when it takes documents and a worker is alive to read them, else 1.
    """
    session = Session.of(context)
    with session.sluice(ONCE) as sluice:
        url = sluice.url
        refusal: SluiceError | None = None
        try:
            sluice.ready()
        except SluiceError as error:
            if error.status is None:
                raise  # It was not the server that said so.
            refusal = error
        stats = sluice.stats()
    is_well = refusal is None and bool(stats.workers)
    if session.out.as_json:
        session.out.json({"url": url, "ready": refusal is None, **stats.model_dump(mode="json")})
    else:
        said = "takes documents" if refusal is None else f"takes no documents: {refusal}"
        session.out.say(f"{url} {said}", style="green" if refusal is None else "red")
        session.out.pairs((Text(name, style="dim"), said) for name, said in facts(stats))
    raise typer.Exit(ExitCode.GOOD if is_well else ExitCode.FAILED)


def facts(stats: Stats) -> Iterator[tuple[str, Text]]:
    """Everything in a few lines."""
    yield "documents", _documents(stats)
    yield "queue", Text(_queue(stats))
    yield "last hour", Text(_throughput(stats))
    yield "storage", Text(_storage(stats))
    yield "workers", Text(str(len(stats.workers))) if stats.workers else NO_WORKERS
    yield from workers(stats.workers)


def workers(alive: Sequence[Worker]) -> Iterator[tuple[str, Text]]:
    """Each, and some of what it holds."""
    for worker in alive:
        yield "", Text(clean(worker.name), style="bold")
        for held in worker.held[:SHOWN_OF_A_WORKER]:
            took = wording.duration(seconds_since(held.since))
            yield "", Text(f"  {held.stage or 'claimed'} for {took}: {clean(held.title or held.document_id)}")
        if (more := len(worker.held) - SHOWN_OF_A_WORKER) > 0:
            yield "", Text(f"  + {more:,} more", style="dim")


def _documents(stats: Stats) -> Text:
    parts = [
        Text(
            f"{stats.documents.get(name, 0):,} {name}",
            style=COLOURS[name] if stats.documents.get(name) else "dim",
        )
        for name in ("PENDING", "PROCESSING", "COMPLETED", "FAILED")
    ]
    return Text(" · ").join(parts)


def _queue(stats: Stats) -> str:
    if not stats.queue.waiting:
        return "empty"
    oldest = stats.queue.oldest_waiting_s
    since = "" if oldest is None else f", the oldest for {wording.duration(oldest)}"
    return (
        f"{stats.queue.due:,} due{since}, {stats.queue.waiting - stats.queue.due:,} wait for their next try"
    )


def _throughput(stats: Stats) -> str:
    completed = sum(minute.completed for minute in stats.throughput)
    failed = sum(minute.failed for minute in stats.throughput)
    return f"{wording.count(completed, 'attempt')} completed, {failed:,} failed"


def _storage(stats: Stats) -> str:
    storage = stats.storage
    return (
        f"{wording.size(storage.content_bytes)} of documents, {wording.count(storage.chunks, 'chunk')},"
        f" {wording.size(storage.database_bytes)} of database"
    )
