"""All commands by name."""

from __future__ import annotations

from typing import Annotated, ClassVar

import typer

from app.cli.lazy import Entry, LazyGroup
from app.cli.version import version as tell_version


def remote(module: str, summary: str) -> Entry:
    """A command for a server that may be anywhere."""
    return Entry(f"remote.{module}", summary, is_remote=True)


class Commands(LazyGroup):
    """What `./sluice` can do."""

    sections: ClassVar = {
        "Use a server": {
            "ingest": remote("ingest", "Take files and folders in, and tell what became of each."),
            "search": remote("search", "Find the passages that answer a question best."),
            "status": remote("status", "Tell how the server is: documents, queue, workers, sizes."),
            "documents": remote("documents", "List documents, newest first."),
            "show": remote("show", "Show a document: how it went, and why it failed."),
            "content": remote("content", "Print what was sent, or the text that was read in it."),
            "amend": remote("amend", "Change a document's title and metadata: what is not named stays."),
            "retry": remote("steering", "Queue FAILED documents again."),
            "cancel": remote("steering", "Give up documents that are not final yet."),
            "delete": remote("steering", "Delete documents with every trace of them."),
            "events": remote("events", "Tell every change of documents as it happens, until Ctrl-C."),
            "collections": remote("collections", "List, make, change and delete collections."),
            "keys": remote("keys", "List, make and remove keys that open some collections, or all."),
            "mcp": remote("mcp", "Serve a server's documents to agents, by the Model Context Protocol."),
            "completion": Entry("remote.completion", "Print the script that completes commands in a shell."),
            "version": Entry("version", "Tell the version of this program."),
        },
        "Run a server here": {
            "up": Entry("up", "Start everything on this machine, until Ctrl-C."),
            "down": Entry("down", "Stop the `up` or `demo` of another terminal."),
            "demo": Entry("demo", "Like `up`, with the samples in it and three questions."),
            "migrate": Entry("migrate", "Bring the tables of DATABASE_URL up to date."),
            "bench": Entry("programs", "Measure this machine: a few minutes, with bars.", passes_on=True),
        },
        "Work on Sluice": {
            "test": Entry(
                "quality", "Run pytest: all tests, two at a time, or those that are named.", passes_on=True
            ),
            "check": Entry("quality", "Run linter, formatter and type checker."),
            "chaos": Entry("programs", "Break things on purpose, and check the promise.", passes_on=True),
            "screenshots": Entry("screenshots", "Make the pictures in docs/images anew."),
        },
    }


cli = typer.Typer(
    name="sluice",
    cls=Commands,
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@cli.callback()
def list_commands(
    context: typer.Context,
    *,
    version: Annotated[bool, typer.Option("--version", help="Tell the version of this program.")] = False,
) -> None:
    """Sluice takes documents in at once and makes them searchable in the background."""
    if version:
        tell_version()
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())
