"""How fast something comes to its end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Pace:
    """So many a second, of the time in which any are worked on.

    Args of the constructor:
        first: What it is believed to be, before any have been seen to end.
        counted_s: After so much work, what has ended counts for half of what is believed.
    """

    def __init__(self, first: float, *, counted_s: float) -> None:
        self.per_s = first
        self._counted_s = counted_s
        self._under_way = 0
        self._since = 0.0
        self._busy_s = 0.0
        self._ended = 0

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """In the block, some are worked on. Any number of blocks may run beside each other."""
        if self._under_way == 0:
            self._since = time.monotonic()
        self._under_way += 1
        try:
            yield
        finally:
            self._reckon()
            self._under_way -= 1

    def ended(self, count: int) -> None:
        """So many have; called within a block."""
        self._ended += count
        self._reckon()

    def _reckon(self) -> None:
        now = time.monotonic()
        self._busy_s += now - self._since
        self._since = now
        if self._busy_s >= self._counted_s:
            self.per_s = (self.per_s + self._ended / self._busy_s) / 2
            self._busy_s, self._ended = 0.0, 0
