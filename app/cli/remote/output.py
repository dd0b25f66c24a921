"""What commands print: for people, with colours on a terminal; or JSON."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import accumulate
from typing import IO, Any, NoReturn

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

#: Of lines that go to a file or a pipe: nothing is wrapped or cut off there.
NO_WIDTH = 10_000

COLUMN_GAP = 2

#: In the order in which a document comes to them.
STAGES = ("claimed", "parsing", "chunking", "embedding", "storing")

COLOURS = {"COMPLETED": "green", "FAILED": "red", "PROCESSING": "yellow", "PENDING": "dim"}


class VerbatimConsole(Console):
    """A console for which brackets and colons in a name are letters like others, also in cells of tables."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, highlight=False, emoji=False, **options)


class PipeConsole(VerbatimConsole):
    """A console whose reader may leave: `sluice documents | head` is no error."""

    def on_broken_pipe(self) -> NoReturn:
        """As rich calls it."""
        leave_quietly()


def leave_quietly() -> NoReturn:
    """End well although nobody reads any more; else the interpreter would complain at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    raise SystemExit(0)


class Output:
    """Where a command speaks: results on standard output, everything else on standard error.

    Args:
        as_json: Results are one JSON document, or one a line where there is no end of them.
        no_color: No colours, wherever it goes; NO_COLOR and a missing terminal say so, too.
        secrets: What is in nothing that is printed.
    """

    def __init__(self, *, as_json: bool = False, no_color: bool = False, secrets: Sequence[str] = ()) -> None:
        self.as_json = as_json
        self._secrets = secrets
        self.results = _console(sys.stdout, no_color=no_color)
        self.notes = _console(sys.stderr, no_color=no_color)

    def json(self, value: Any) -> None:
        """The one document of this command."""
        self._write(json.dumps(value, ensure_ascii=False, indent=2, default=str))

    def json_line(self, value: Any) -> None:
        """One of many, at once."""
        self._write(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str))

    def veiled(self, text: str) -> str:
        """The text without the secrets."""
        for secret in self._secrets:
            text = text.replace(secret, "…")
        return text

    def _write(self, text: str) -> None:
        text = self.veiled(text)
        # Names of files may hold what is no UTF-8: as JSON escapes, it stays JSON.
        self.results.file.flush()
        stream = getattr(self.results.file, "buffer", None)
        if stream is None:
            print(text, file=self.results.file, flush=True)
            return
        stream.write(text.encode("utf-8", "backslashreplace") + b"\n")
        stream.flush()

    def raw(self, content: bytes) -> None:
        """Bytes of a result, as they are."""
        self.results.file.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()

    def say(self, text: str | Text = "", style: str = "") -> None:
        """A line of the result."""
        text = self.veiled(text) if isinstance(text, str) else text
        self.results.print(text, style=style, soft_wrap=not self.results.is_terminal)

    def note(self, text: str | Text, style: str = "") -> None:
        """A line beside the result."""
        text = self.veiled(text) if isinstance(text, str) else text
        self.notes.print(text, style=style, soft_wrap=not self.notes.is_terminal)

    def pairs(self, rows: Iterable[tuple[str | Text, str | Text]], *, indent: int = 0) -> None:
        """Names and what is said of each; what does not fit into a line goes on below its beginning."""
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(no_wrap=True, overflow="ellipsis", max_width=self.results.width // 2)
        grid.add_column(overflow="fold")
        for name, said in rows:
            grid.add_row(name, said)
        if grid.rows:
            self._print(Padding(grid, (0, 0, 0, indent), expand=False))

    def table(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[str | Text]],
        *,
        right: str = "",
        keeps_first: bool = False,
    ) -> None:
        """Columns by their names, those in `right` to the right; the last one takes what is left.

        With `keeps_first`, the first one is shown in full, and the last ones only where there is room.
        """
        if keeps_first:
            columns = columns[: self._fitting(columns, rows)]
            rows = [row[: len(columns)] for row in rows]
        table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, COLUMN_GAP, 0, 0))
        for name in columns:
            is_last = name == columns[-1]
            table.add_column(
                name,
                justify="right" if name in right.split() else "left",
                no_wrap=not is_last,
                overflow="fold" if is_last else "ellipsis",
            )
        for row in rows:
            table.add_row(*row)
        self._print(table)

    def _fitting(self, columns: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> int:
        """How many columns fit beside each other, at least one."""
        widths = [max(map(cell_len, map(str, cells))) for cells in zip(columns, *rows, strict=True)]
        ends = accumulate(width + COLUMN_GAP for width in widths)
        return max(sum(end - COLUMN_GAP <= self.results.width for end in ends), 1)

    def _print(self, table: RenderableType) -> None:
        if self.results.is_terminal:
            self.results.print(table)
            return
        with self.results.capture() as captured:
            self.results.print(table)
        # Columns are filled up with blanks, which nobody wants in a file.
        for line in captured.get().splitlines():
            self.say(line.rstrip())


def _console(stream: IO[str], *, no_color: bool) -> Console:
    width = None if stream.isatty() else NO_WIDTH
    return PipeConsole(file=stream, no_color=no_color or None, width=width)


def clean(text: object) -> str:
    """Somebody else's words on one line, with nothing in them that steers a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())


def coloured(status: str | None) -> Text:
    """A status in its colour."""
    return Text(status or "", style=COLOURS.get(status or "", ""))


def moment(at: datetime | None) -> str:
    """A moment in the time of this machine, to the second."""
    return "" if at is None else at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def seconds_since(at: datetime) -> float:
    """By the clock of this machine, which may differ from the server's a little."""
    return max((datetime.now(UTC) - at).total_seconds(), 0)
