"""What waits, for threads. Written by hand, like its counterpart."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

sleep = time.sleep


def beside(work: Callable[[], T]) -> T:
    """Do it."""
    return work()
