"""A picture of commands and what they print on a terminal."""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[2]
COLUMNS, LINES = 96, 40

#: Fonts from elsewhere, which a picture should not ask for; what is there of its own will do.
FOREIGN_FONTS = re.compile(r"@font-face \{.*?\}", re.DOTALL)


def save_terminal_picture(
    path: Path, commands: Sequence[Sequence[str]], *, folder: Path, environment: Mapping[str, str]
) -> None:
    """Run `sluice` with these words, one after the other, and write all of it as an SVG.

    Args:
        folder: Where they are called.
        environment: On top of this process's.
    """
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, highlight=False)
    for words in commands:
        console.print(f"$ sluice {shlex.join(words)}", style="bold", markup=False)
        said = printed_on_terminal(words, environment={**environment, "SLUICE_CALLED_FROM": str(folder)})
        console.print(Text.from_ansi(said), end="\n\n" if words is not commands[-1] else "\n")
    svg = console.export_svg(title="sluice", unique_id="sluice")
    path.write_text(FOREIGN_FONTS.sub("", svg))


def printed_on_terminal(words: Sequence[str], *, environment: Mapping[str, str]) -> str:
    """What a command prints as its result where it sees a terminal, with its colours."""
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (LINES, COLUMNS))
    with subprocess.Popen(  # noqa: S603  # Ours, and no shell.
        [sys.executable, "-m", "app.cli", *words],
        stdout=theirs,
        stderr=subprocess.DEVNULL,  # The live view, which is gone when the result is there.
        cwd=ROOT,
        env={**os.environ, "TERM": "xterm-256color", "NO_COLOR": "", **environment},
    ):
        os.close(theirs)
        said = b"".join(iter(lambda: _read(ours), b""))
    os.close(ours)
    return said.decode().replace("\r\n", "\n").strip("\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""  # Its other end was closed: as Linux tells the end of it.
