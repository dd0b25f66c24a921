"""When a group of calls should begin, and with how many of them, where callers come again once answered."""

from __future__ import annotations

import math

#: How soon one call comes after another is some half of what it costs: it is read before, and answered later,
#: together with others. A group is short that takes no longer than twice that for all callers, and long that
#: takes twice as long again; then they are waited for this part of the time that it takes, at most, and no
#: longer than that: a database may have stood still.
SHORT, LONG = 2, 4
PATIENCE = 0.5
PATIENCE_AT_MOST_S = 0.01


class Tempo:
    """Reckons by how long a group takes, and how soon one call comes after another.

    Clients send the next document when they have the answer to the last. If all are in one group, this
    process has nothing to do while it is under way. So while a group takes less time than all of them take to
    come, it is half of them: one half is under way while the other comes. Where a group takes much longer,
    its callers are waited for: the first who is back would have one alone, and all others wait for that.
    """

    def __init__(self) -> None:
        self._group_s = math.inf
        self._call_s = 0.0
        self._returning = 0

    def share(self, waiting: int, *, within_s: float) -> int:
        """How many the next group takes, at least one, of those that wait and came within such a time."""
        if waiting > 1:
            self._call_s = (self._call_s + within_s / (waiting - 1)) / 2
        everybody = waiting + self._returning
        return (everybody + 1) // 2 if self._group_s < SHORT * self._call_s * everybody else waiting

    def ended(self, calls: int, *, group_s: float) -> None:
        """A group did; its callers may come again."""
        self._returning = calls
        self._group_s = group_s

    def rest(self) -> None:
        """Nobody waits: those who may come have not come."""
        self._returning = 0

    def patience(self, waiting: int) -> tuple[int, float]:
        """How many should wait before the next group begins, and for how many seconds that may be put off."""
        everybody = waiting + self._returning
        if self._returning < 2 or self._group_s < LONG * self._call_s * everybody:
            return 0, 0.0
        return everybody, min(PATIENCE * self._group_s, PATIENCE_AT_MOST_S)
