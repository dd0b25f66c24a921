"""How a process ends that cannot start."""

from __future__ import annotations

import os
import sys


def last_words(who: str, reason: str) -> int:
    """Say in one sentence, as the last thing in the log, why it ends; the exit code for it."""
    print(f"sluice {who}: {reason}", file=sys.stderr, flush=True)  # noqa: T201
    return os.EX_CONFIG
