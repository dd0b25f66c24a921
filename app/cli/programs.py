"""Programs beside the service that have arguments of their own: `sluice bench` and `sluice chaos`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import typer


def bench(context: typer.Context) -> None:
    """Measure this machine: a few minutes, with bars."""
    _become("bench", context.args)


def chaos(context: typer.Context) -> None:
    """Break things on purpose, and check the promise."""
    _become("tests.chaos", context.args)


def _become(module: str, words: Sequence[str]) -> NoReturn:
    # Replaced, not started: on Ctrl-C there must be nobody above who kills it before it has cleared up.
    os.execv(sys.executable, [sys.executable, "-m", module, *words])  # noqa: S606  # Ours, and no shell.
