"""How fast something comes to its end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

#: What it is believed to be at first counts for so much work; and after so much, what was before for half.
FIRST_S = 0.1
HALF_LIFE_S = 2.0


class Pace:
    """So many a second, of the time in which any are worked on.

    They end in groups, several of which may end at once. So what is averaged is not the pace from one end to
    the next, but how many there were and how long that took, either of which fades away.

    Args of the constructor:
        first: What it is believed to be, before any have been seen to end.
    """

    def __init__(self, first: float) -> None:
        self._ended = first * FIRST_S
        self._busy_s = FIRST_S
        self._under_way = 0
        self._since = 0.0

    @property
    def per_s(self) -> float:
        """As of the last end."""
        return self._ended / self._busy_s

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """In the block, some are worked on. Any number of blocks may run beside each other."""
        if self._under_way == 0:
            self._since = time.monotonic()
        self._under_way += 1
        try:
            yield
        finally:
            self.ended(0)
            self._under_way -= 1

    def ended(self, count: int) -> None:
        """So many have; called within a block."""
        now = time.monotonic()
        worked_s, self._since = now - self._since, now
        kept = 0.5 ** (worked_s / HALF_LIFE_S)
        self._ended = self._ended * kept + count
        self._busy_s = self._busy_s * kept + worked_s
