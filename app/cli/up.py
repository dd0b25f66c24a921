"""`sluice up`: the whole service on this machine, until Ctrl-C."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.lazy import DEFAULT_DATA, from_caller
from app.cli.stack import Stack, StackOptions, StopRequested, default_workers
from app.client.settings import DEFAULT_URL
from app.core.config import Settings, get_settings

DataOption = Annotated[
    Path,
    typer.Option(
        callback=from_caller,
        show_default=".data beside ./sluice",
        help="Everything that is kept lies in this folder.",
    ),
]
HostOption = Annotated[
    str,
    typer.Option(
        default_factory=lambda: get_settings().API_HOST,
        show_default="API_HOST, or 127.0.0.1",
        help="The address to listen on; 0.0.0.0 lets others in.",
    ),
]
PortOption = Annotated[
    int,
    typer.Option(
        min=1,
        max=65535,
        default_factory=lambda: get_settings().API_PORT,
        show_default="API_PORT, or 8000",
        help="The API's port.",
    ),
]
WorkersOption = Annotated[
    int,
    typer.Option(
        min=1,
        max=64,
        default_factory=default_workers,
        show_default="one a core, at most 4",
        help="Worker processes.",
    ),
]
VerboseOption = Annotated[bool, typer.Option("--verbose", help="Show the logs here, too.")]


def up(
    *,
    workers: WorkersOption,
    port: PortOption,
    host: HostOption,
    data: DataOption = DEFAULT_DATA,
    verbose: VerboseOption = False,
) -> None:
    """Start everything on this machine, until Ctrl-C.

    DATABASE_URL and REDIS_URL, where set, name servers to use in place of the embedded ones.
    """
    options = StackOptions(data=data, host=host, port=port, workers=workers, verbose=verbose)
    try:
        with Stack(options, print_now) as stack:
            print_now(ready_text(options, stack.settings))
            stack.wait()
    except StopRequested:
        print_now("Stopped.")


def ready_text(options: StackOptions, settings: Settings) -> str:
    """What to try first."""
    option = "" if options.url == DEFAULT_URL else f" --url {options.url}"
    key = '-H "Authorization: Bearer $SLUICE_API_KEY" ' if settings.API_KEYS else ""
    return f"""
Ready: {options.url} in a browser (the API: {options.url}/docs, the logs: {options.data / "logs"})
{who_is_let_in(options, settings)}
  ./sluice ingest samples{option}
  curl {key}-F file=@samples/visitor-guide.pdf {options.url}/ingest
  curl {key}-H 'Content-Type: application/json' \\
       -d '{{"query": "how long is a passage through the lock?"}}' {options.url}/search

Ctrl-C stops everything."""


def who_is_let_in(options: StackOptions, settings: Settings) -> str:
    """A line about it, where that is not everybody on this machine."""
    if settings.API_KEYS:
        return "A key is asked for, one of API_KEYS: ./sluice takes it from SLUICE_API_KEY.\n"
    if options.is_local:
        return ""
    place = f"{options.host}:{options.port}"
    return f"WARNING: whoever reaches {place} can read and delete every document. Set API_KEYS.\n"


def print_now(text: str) -> None:
    """Also when the output is a file or a pipe."""
    print(text, flush=True)
