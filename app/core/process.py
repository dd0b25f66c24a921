"""How a process ends that cannot start."""

from __future__ import annotations

import os
import sys
from typing import NoReturn


def give_up(who: str, reason: str) -> NoReturn:
    """End the process now, with one sentence as the last thing in its log.

    Uvicorn would print a hundred lines of traceback around it, and Dramatiq swallows what a boot hook raises
    and goes on with a worker that can do nothing.
    """
    print(f"sluice {who}: {reason}", file=sys.stderr, flush=True)  # noqa: T201
    os._exit(os.EX_CONFIG)
