"""What the demo shows: a live table on a terminal, plain lines in a file or a pipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from app.cli.demo_ingest import Ingest
from app.cli.remote.search import passage_of, place_of
from app.client import Hit
from app.core.wording import count

SNIPPET_CHARS = 220
COLOURS = {"COMPLETED": "green", "FAILED": "red"}


class IngestScreen:
    """The files and how far each has come. Use as a context manager."""

    def __init__(self, console: Console, paths: Sequence[Path]) -> None:
        self._console = console
        self._rows = {path: Ingest(path, status="waiting") for path in paths}
        self._live = Live(console=console, get_renderable=self._table, refresh_per_second=8)

    def show(self, ingest: Ingest) -> None:
        """Take note of a change; off the terminal only the end of each file is told."""
        self._rows[ingest.path] = ingest
        if not self._console.is_terminal and ingest.is_final:
            self._console.print(line(ingest), soft_wrap=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()
            for ingest in self._rows.values():
                if ingest.code:
                    self._console.print(failure(ingest))

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column("file")
        table.add_column("bytes", justify="right")
        table.add_column("status", min_width=22)
        table.add_column("chunks", justify="right")
        table.add_column("ms", justify="right")
        for ingest in self._rows.values():
            state = Text(state_of(ingest), style=COLOURS.get(ingest.status, ""))
            size = f"{ingest.path.stat().st_size:,}"
            table.add_row(
                ingest.path.name, size, state, str(ingest.chunks or ""), str(ingest.elapsed_ms or "")
            )
        return table


def state_of(ingest: Ingest) -> str:
    """Status and, on the way, what is being done."""
    if ingest.was_known and ingest.is_completed:
        return "already there"
    return f"{ingest.status} {ingest.stage}".strip() if not ingest.is_final else ingest.status


def line(ingest: Ingest) -> str:
    """One file's end in a line of plain text."""
    size = f"{ingest.path.stat().st_size:,}"
    told = f"  {ingest.path.name:26}{size:>8} bytes  {state_of(ingest):14}"
    if ingest.code:
        return f"{told}\n{failure(ingest)}"
    return f"{told}{count(ingest.chunks, 'chunk'):>10} {ingest.elapsed_ms:6} ms"


def failure(ingest: Ingest) -> str:
    """Why a file failed, and what can be done about it."""
    return f"  {ingest.path.name}: {ingest.code}: {ingest.message} {ingest.hint}".rstrip()


def show_hits(console: Console, question: str, hits: Sequence[Hit]) -> None:
    """A question and the passages found for it."""
    console.print(f"\n{question}", style="bold")
    if not hits:
        console.print("  Nothing was found.")
    if not console.is_terminal:
        for hit in hits:
            text = f"  {hit.score:.3f}  {place_of(hit)}: {passage_of(hit, length=SNIPPET_CHARS)}"
            console.print(text, soft_wrap=True)
        return
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 1))
    table.add_column(justify="right", style="cyan")
    table.add_column(no_wrap=True, style="green")
    table.add_column(overflow="fold")
    for hit in hits:
        table.add_row(f"{hit.score:.3f}", place_of(hit), passage_of(hit, length=SNIPPET_CHARS))
    console.print(table)
