"""`sluice demo`: the service, every sample in it, and a few questions to it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from app.cli.demo_ingest import ingest_file
from app.cli.demo_screen import IngestScreen, show_hits
from app.cli.lazy import DEFAULT_DATA
from app.cli.remote.output import VerbatimConsole
from app.cli.stack import Stack, StackOptions, StopRequested
from app.cli.up import (
    DataOption,
    HostOption,
    PortOption,
    VerboseOption,
    WorkersOption,
    print_now,
    who_is_let_in,
)
from app.client import AsyncSluice
from app.client.settings import DEFAULT_URL
from app.embedded import is_port_free

SAMPLES = Path(__file__).parents[2] / "samples"
QUESTIONS = (
    "How much does a motor boat pay for a passage?",
    "At what level does the keeper declare a flood watch?",
    "Which grease is used for the paddle gear, and why?",
)
PORTS_TO_TRY = 20


def demo(
    *,
    workers: WorkersOption,
    port: PortOption,
    host: HostOption,
    data: DataOption = DEFAULT_DATA,
    verbose: VerboseOption = False,
    exit_after: Annotated[bool, typer.Option("--exit", help="Stop after the questions.")] = False,
) -> None:
    """Like `up`, with the samples in it and three questions."""
    console = VerbatimConsole()
    options = StackOptions(data=data, host=host, port=port, workers=workers, verbose=verbose)
    options = replace(options, port=next_free_port(options))
    try:
        with Stack(options, print_now) as stack:
            if told := who_is_let_in(options, stack.settings):
                print_now(f"\n{told}")
            keys = stack.settings.API_KEYS
            all_well = asyncio.run(
                show(options.url, console, api_key=keys[0].get_secret_value() if keys else None)
            )
            if not exit_after:
                print_now(next_steps(options.url))
                stack.wait()
    except StopRequested:
        print_now("Stopped.")
        return
    raise SystemExit(0 if all_well else 1)


def next_free_port(options: StackOptions) -> int:
    """The wished port, or the first free one after it; when there is none, starting will say so."""
    for port in range(options.port, min(options.port + PORTS_TO_TRY, 65536)):
        try:
            if is_port_free(port, options.host):
                return port
        except OSError:
            break  # No address of ours: starting will say that, too.
    return options.port


async def show(url: str, console: Console, *, api_key: str | None) -> bool:
    """Ingest and search; whether everything went as it should."""
    async with AsyncSluice(url, api_key=api_key) as sluice:
        files = sorted(path for path in SAMPLES.iterdir() if path.name != "README.md")
        console.print(f"\nIngesting {len(files)} files of {SAMPLES.name}/")
        with IngestScreen(console, files) as screen:
            documents = await asyncio.gather(*(ingest_file(sluice, path, screen.show) for path in files))
        answers = []
        for question in QUESTIONS:
            hits = await sluice.search(question, top_k=3)
            show_hits(console, question, hits)
            answers.append(hits)
    return all(document.is_completed for document in documents) and all(answers)


def next_steps(url: str) -> str:
    """What to try with one's own files."""
    option = "" if url == DEFAULT_URL else f" --url {url}"
    return f"""
Now with files of your own, in another terminal:

  ./sluice ingest /path/to/documents{option}
  ./sluice search "what you want to know"{option}

All calls: {url}/docs
Ctrl-C stops everything; the documents stay, and the next start finds them."""
