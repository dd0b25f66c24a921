"""Makes the client for threads out of the one for asyncio: `python -m app.client.making`.

They are the same but for `async` and `await`: one is written, the other made, and a test holds them together.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SOURCE, TARGET = HERE / "asynchronous", HERE / "synchronous"
BY_HAND = {"listening.py", "waiting.py"}

NOTE = "# Made from {name} by `python -m app.client.making`: change that one.\n"
WORDS = {
    r"async (def|with|for)\b": r"\1",
    r"\bawait ": "",
    r"\bAsync(Sluice|Connection|Sender|Watcher|Webhooks|Keys|Iterator)\b": r"\1",
    r"\bAsyncGenerator\[(\w+), None\]": r"Generator[\1, None, None]",
    r"\bAsyncGenerator\b": "Generator",
    r"\bAsyncClient\b": "Client",
    r"\b__a(enter|exit)__\b": r"__\1__",
    r"\basynccontextmanager\b": "contextmanager",
    r"\baclosing\b": "closing",
    r"\ba(close|read|iter_lines|iter_bytes|iter_sse)\(": r"\1(",
    r"\basynchronous\b": "synchronous",
    r", for asyncio\b": ", for threads",
    r"\ban async context": "a context",
}


def made(source: str, name: str) -> str:
    """The module for threads, before it is formatted."""
    for pattern, replacement in WORDS.items():
        source = re.sub(pattern, replacement, source)
    return NOTE.format(name=f"asynchronous/{name}") + source


def modules() -> dict[str, str]:
    """All of them as they have to be, by their names."""
    return {
        path.name: formatted(made(path.read_text(), path.name))
        for path in sorted(SOURCE.glob("*.py"))
        if path.name not in BY_HAND
    }


def formatted(source: str) -> str:
    """As ruff has it, imports in their order."""
    ruff = [sys.executable, "-m", "ruff"]
    for step in (["check", "--select=I", "--fix", "--quiet"], ["format", "--quiet"]):
        command = [*ruff, *step, f"--stdin-filename={TARGET / 'made.py'}", "-"]
        done = subprocess.run(command, input=source, capture_output=True, text=True, check=True)  # noqa: S603
        source = done.stdout
    return source


if __name__ == "__main__":
    for name, source in modules().items():
        (TARGET / name).write_text(source)
