"""`sluice chaos`: faults on purpose, for those who work on Sluice."""

from __future__ import annotations

import os
import sys

import typer


def chaos(context: typer.Context) -> None:
    """Break things on purpose, and check the promise."""
    # Replaced, not started: on Ctrl-C there must be nobody above who kills it before it has cleared up.
    os.execv(sys.executable, [sys.executable, "-m", "tests.chaos", *context.args])  # noqa: S606  # Ours, and no shell.
