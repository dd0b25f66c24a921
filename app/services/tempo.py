"""When a group of calls should begin, and with how many of them, where callers come again once answered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import median_low

#: How soon one call comes after another is some half of what it costs: it is read before, and answered later,
#: together with others. So a group is short that takes less than twice that for all callers, and long that
#: takes more than two and a half times. Then they are waited for this part of the time that it takes, and no
#: longer than that: a database may have stood still.
SHORT, LONG = 2, 2.5
PATIENCE = 0.5
PATIENCE_AT_MOST_S = 0.01

#: Groups are halved when so many times as many wait as were in the last one; halves stay halves.
UNEVEN = 3

#: What is believed of how long groups take changes by so much for each, at most: the end of a small one is
#: noticed late while this process is busy with all the others, and one that failed took no time.
CHANGE = LONG / SHORT


class Tempo:
    """Reckons by how long a group takes, and how soon one call comes after another.

    Clients send the next document when they have the answer to the last. If all are in one group, this
    process has nothing to do while it is under way. So while a group takes less time than all of them take to
    come, it is half of them: one half is under way while the other comes. Where a group takes longer, its
    callers are waited for: the first who is back would have one alone, and all others wait for that.
    """

    def __init__(self) -> None:
        self._group_s = math.inf
        self._call_s = 0.0
        self._returning = 0
        self._everybody = 0

    def share(self, came_at: Sequence[float]) -> int:
        """How many the next group takes, at least one, of those that wait, by when they came."""
        waiting = len(came_at)
        if waiting > 1:  # The median: somebody may have waited through the group before.
            gap_s = median_low(later - earlier for earlier, later in pairwise(came_at))
            self._call_s = (self._call_s + gap_s) / 2
        everybody = max(waiting, self._everybody)
        is_short = self._group_s < SHORT * self._call_s * everybody
        return (everybody + 1) // 2 if is_short and waiting >= UNEVEN * max(self._returning, 1) else waiting

    def ended(self, calls: int, *, group_s: float, waiting: int) -> tuple[int, float]:
        """A group did; its callers may come again.

        Returns:
            How many should wait before the next one begins, and for how many seconds that may be put off.
        """
        if self._group_s < math.inf:
            group_s = min(max(group_s, self._group_s / CHANGE), self._group_s * CHANGE)
        self._group_s = group_s
        self._returning, self._everybody = calls, waiting + calls
        if calls < 2 or self._group_s < LONG * self._call_s * self._everybody:
            return 0, 0.0
        return self._everybody, min(PATIENCE * self._group_s, PATIENCE_AT_MOST_S)

    def rest(self) -> None:
        """Nobody waits: those who may come have not come."""
        self._returning = self._everybody = 0
