"""How many small documents a process takes in hand together, and how many of them it ingests in one go."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from app.models.document import Document, Stage
from app.services.pace import Pace

#: So much work may be in hand: what another collection is sent meanwhile has to wait for part of it.
WITHIN_S = 1.5

#: So many are worth a claim of their own, and are claimed at once, and may be in hand in all.
LEAST, MOST, IN_HAND = 8, 63, 192

#: Those that end within such a time anyway are ingested in one go; so many bytes take milliseconds to split,
#: and nothing else of the process goes on meanwhile.
AT_ONCE_S, AT_ONCE_BYTES = 0.25, 65_536

#: Documents a second, before any have been seen to end.
FIRST_PACE = 50.0


class Company:
    """Reckons by how many end in a second: with so many in hand, each is there for a moment (Little's law).

    With a model that takes 20 ms for a document, 75 are in hand, enough for batches of similar length;
    with one that only looks words up, three times sixty, which share their statements and commits.

    Args of the constructor:
        in_hand: The documents that this process has, whatever their size.
        is_model_slow: Whether it is the model that documents wait for. Then those of different collections
            are ingested apart: the only one that somebody has sent would end with all others beside it.

    Attributes:
        pace: Of documents that may have company; its user notes which are worked on, and end.
    """

    def __init__(
        self, in_hand: Callable[[], Sequence[Document]], *, is_model_slow: Callable[[], bool] = lambda: False
    ) -> None:
        self._in_hand = in_hand
        self._is_model_slow = is_model_slow
        self._promised = 0
        self.pace = Pace(FIRST_PACE)

    @contextmanager
    def room(self) -> Iterator[int]:
        """How many more may be claimed in the block, by nobody else meanwhile; 0 if that is not worth it."""
        in_hand = self._in_hand()
        to_do = sum(document.stage != Stage.STORING for document in in_hand)
        room = min(int(self.pace.per_s * WITHIN_S) - to_do, IN_HAND - len(in_hand)) - self._promised
        promised = min(room, MOST) if room >= LEAST else 0
        self._promised += promised
        try:
            yield promised
        finally:
            self._promised -= promised

    def parties(self, documents: Sequence[Document]) -> list[list[Document]]:
        """Divide them into such as are ingested in one go."""
        most = max(int(self.pace.per_s * AT_ONCE_S), 1)
        is_apart = self._is_model_slow()
        related: dict[str, list[Document]] = defaultdict(list)
        for document in documents:
            related[document.collection if is_apart else ""].append(document)
        parties: list[list[Document]] = []
        for some in related.values():
            parties.append([])
            size = 0
            for document in some:
                size += document.size_bytes
                if parties[-1] and (len(parties[-1]) == most or size > AT_ONCE_BYTES):
                    parties.append([])
                    size = document.size_bytes
                parties[-1].append(document)
        return parties
