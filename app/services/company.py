"""How many small documents a process takes in hand together: as many as it ends within a moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: So much work may be in hand: what another collection is sent meanwhile has to wait for part of it.
WITHIN_S = 1.0

#: So many are worth a claim of their own, and are claimed at once, and may be in hand in all.
LEAST, MOST, IN_HAND = 8, 31, 128

#: Documents a second, before any have been seen to end.
FIRST_PACE = 50.0


class Company:
    """Reckons by Little's law: as many end in a second as are in hand, over the seconds that each of them is.

    With a model that takes 25 ms for a document, forty are in hand, enough for batches of similar length;
    with one that only looks words up, four times thirty, which share their statements and commits.

    Args of the constructor:
        in_hand: How many documents this process has, whatever their size.
    """

    def __init__(self, in_hand: Callable[[], int]) -> None:
        self._in_hand = in_hand
        self._promised = 0
        self._pace = FIRST_PACE

    @contextmanager
    def room(self) -> Iterator[int]:
        """How many more may be claimed in the block, by nobody else meanwhile; 0 if that is not worth it."""
        room = min(int(self._pace * WITHIN_S), IN_HAND) - self._in_hand() - self._promised
        promised = min(room, MOST) if room >= LEAST else 0
        self._promised += promised
        try:
            yield promised
        finally:
            self._promised -= promised

    @contextmanager
    def at_work(self, documents: int) -> Iterator[None]:
        """Notes how long so many take, beside all else that is in hand: as long as the block takes."""
        beside, began_at = self._in_hand(), time.monotonic()
        try:
            yield
        finally:
            in_hand = documents + (beside + self._in_hand()) / 2
            pace = in_hand / max(time.monotonic() - began_at, 0.001)
            self._pace = (self._pace + pace) / 2
