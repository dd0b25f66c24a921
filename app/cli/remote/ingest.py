"""`sluice ingest`: folders, files and standard input."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.ingesting.report import Report, results_of
from app.cli.ingesting.running import Running
from app.cli.ingesting.summary import summarize
from app.cli.ingesting.sync import Wishes
from app.cli.ingesting.walking import STDIN, File, TwoOfOneName, Walk
from app.cli.remote.command import PATIENT, Session
from app.cli.remote.completion import collection_names
from app.cli.remote.options import WrongCall, json_object


def ingest(
    context: typer.Context,
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="Files and folders; - is standard input.")
    ],
    *,
    collection: Annotated[
        str, typer.Option("--collection", "-c", help="Where to.", autocompletion=collection_names)
    ] = "default",
    metadata: Annotated[
        list[str] | None,
        typer.Option(
            "--metadata",
            "-m",
            help='For all of them: key=value, a text, or JSON like {"year": 2026}; can be repeated.',
        ),
    ] = None,
    prefix: Annotated[
        str, typer.Option(help="Put before the names of the documents, like `handbook/`.")
    ] = "",
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", "-x", help="Leave out what is called so, like '*.log'.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="What the document from - is called; sending it again updates it.")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Until all are searchable, or failed.")
    ] = True,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on, whenever a file changes, until Ctrl-C.")
    ] = False,
    delete: Annotated[
        bool, typer.Option("--delete", help="With --watch: delete the document of a file that is deleted.")
    ] = False,
) -> None:
    """Take files and folders in, and tell what became of each.

    A file is known by its path below the folder given: when it has changed, it becomes a new version of its
    document, and when it has not, it is not sent. So the same call again does only what is left to do.

    The exit code is 0 when all is well, 1 when something failed, 2 when the call cannot be carried out, 3
    when the server does not answer, and 130 after Ctrl-C.
    """
    session = Session.of(context)
    wishes = Wishes(collection, metadata_of(metadata or ()), wait)
    excluded = exclude or ()
    if delete and not watch:
        raise WrongCall("--delete goes with --watch: without it, nobody sees that a file is deleted.")
    if watch:
        require_folders(paths)
        walked(paths, prefix=prefix, exclude=excluded, name=name)  # Folders that clash are told now.
        report = asyncio.run(in_step(session, wishes, paths, prefix=prefix, exclude=excluded, deletes=delete))
        raise typer.Exit(report.exit_code)
    walk = walked(paths, prefix=prefix, exclude=excluded, name=name)
    report = Report(results_of(walk), walk.left_out, walk.unreadable)
    asyncio.run(once(session, report, wishes))
    summarize(session, report, waited=wait)
    raise typer.Exit(report.exit_code)


def require_folders(paths: Sequence[str]) -> None:
    """
    Raises:
        WrongCall: One of them is none, so that it cannot be watched.
    """
    for path in paths:
        if not Path(path).is_dir():
            raise WrongCall(f"--watch is for folders, and {path} is none.")


def metadata_of(said: Sequence[str]) -> dict[str, Any] | None:
    """All of them together: of an object as JSON has them, of pairs as texts.

    Raises:
        WrongCall: One is neither an object nor key=value.
    """
    found: dict[str, Any] = {}
    for each in said:
        key, equals, value = each.partition("=")
        if each.lstrip().startswith("{"):
            found |= json_object(each)
        elif not equals or not key:
            raise WrongCall(f'{each!r} is neither key=value nor a JSON object like {{"key": "value"}}.')
        else:
            found[key.strip()] = value
    return found or None


def walked(paths: Sequence[str], *, prefix: str, exclude: Sequence[str], name: str | None) -> Walk:
    """All that the paths mean.

    Raises:
        WrongCall: There is nothing at one of them, or documents could not be told apart.
    """
    walk = Walk(prefix=prefix, exclude=exclude)
    try:
        walk.add(Path(path) for path in paths if path != STDIN)
    except TwoOfOneName as error:
        raise WrongCall(str(error)) from None
    except OSError as error:
        raise WrongCall(f"{error.filename}: {error.strerror}.") from None
    if STDIN in paths:
        content = sys.stdin.buffer.read()
        external_id = None if name is None else prefix + name
        file = File(external_id or "standard input", external_id, len(content), content=content)
        walk.files[file.label] = file
    elif name is not None:
        raise WrongCall("--name is for what comes from -; files have names of their own.")
    return walk


async def once(session: Session, report: Report, wishes: Wishes) -> None:
    """One pass over the files of a report."""
    running = Running(session, wishes)
    async with session.async_sluice(PATIENT) as sluice:
        with running.interruptible():
            await running.pass_over(sluice, report)


async def in_step(
    session: Session,
    wishes: Wishes,
    paths: Sequence[str],
    *,
    prefix: str,
    exclude: Sequence[str],
    deletes: bool,
) -> Report:
    """Passes until Ctrl-C; the report of the first one."""
    from app.cli.ingesting.watching import FolderWatch  # noqa: PLC0415  # Only who watches needs watchfiles.

    running = Running(session, wishes)
    roots = [Path(path) for path in paths]
    watch = FolderWatch(running, roots, prefix=prefix, exclude=exclude, deletes=deletes)
    async with session.async_sluice(PATIENT) as sluice:
        with running.interruptible():
            await watch.run(sluice)
    watch.report.was_interrupted = running.stopping.is_set()
    return watch.report
