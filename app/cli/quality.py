"""`sluice test` and `sluice check`: what a change has to pass."""

from __future__ import annotations

import subprocess
import sys
import time

import typer

from app.cli.browser import chromium

CHECKS = {
    "lint": ["ruff", "check", "."],
    "format": ["ruff", "format", "--check", "."],
    "types": ["mypy"],
}
#: Many tests wait for a lease to run out or a process to start; those of a file share what one made.
#: In their own order the quick ones come last, so that no process waits long for the other.
ALL_TESTS = ["--numprocesses=2", "--dist=loadfile", "--no-loadscope-reorder", "--durations=20"]


def test(context: typer.Context) -> None:
    """Run pytest: all tests, two at a time, or those that are named.

    Its arguments are pytest's: `--cov --cov-branch`, for one.
    """
    if not context.args or any("web" in word for word in context.args):
        chromium()  # Now, and not in the middle of two processes' tests.
    command = [sys.executable, "-m", "pytest", *(context.args or ALL_TESTS)]
    raise SystemExit(subprocess.run(command, check=False).returncode)  # noqa: S603  # Ours, and no shell.


def check() -> None:
    """Run linter, formatter and type checker."""
    results = [passes(name, [sys.executable, "-m", *command]) for name, command in CHECKS.items()]
    raise SystemExit(0 if all(results) else 1)


def passes(name: str, command: list[str]) -> bool:
    """Run one check and tell its outcome in a line."""
    begun = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # As above.
    outcome = "ok" if done.returncode == 0 else "FAILED"
    print(f"{name:8}{outcome:8}{time.monotonic() - begun:5.1f} s", flush=True)
    if done.returncode != 0:
        print(done.stdout + done.stderr, end="", flush=True)
    return done.returncode == 0
