"""From passages back to the text that they were cut from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from app.chunking.passage import Passage


def gaps_between(passages: Iterable[Passage], text: str) -> Iterator[str]:
    """For each passage, the white space between what the ones before it reached and its beginning."""
    reached = 0
    for passage in passages:
        yield text[reached : passage.char_start]
        reached = max(reached, passage.char_end)


class Piece(Protocol):
    """A stored passage: `text` is `[char_start:char_end]` of the whole."""

    @property
    def gap(self) -> str: ...  # White space between the end of all passages before and this one.
    @property
    def text(self) -> str: ...
    @property
    def char_start(self) -> int: ...
    @property
    def char_end(self) -> int: ...


class Joiner:
    """Puts passages together, a few at a time, in the order in which they were cut.

    What comes out, taken together, has every passage at `[char_start:char_end]`; overlaps come once. Only
    the white space after the last passage is lost.
    """

    def __init__(self) -> None:
        self.reached = 0  # Where the text that came out ends.

    def joined(self, pieces: Iterable[Piece]) -> Iterator[str]:
        """The text that these add to what came out before."""
        for piece in pieces:
            if piece.char_start >= self.reached:
                yield piece.gap + piece.text
            elif piece.char_end > self.reached:
                yield piece.text[self.reached - piece.char_start :]
            self.reached = max(self.reached, piece.char_end)
