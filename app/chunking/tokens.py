"""The tokens of a text, in a few bytes each, and of a long text no more at a time than are needed."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from app.chunking.breaks import last_soft_break

#: Of a text: (n, 2), as `Embedder.token_offsets` gives them.
TokenOffsets = Callable[[str], NDArray[np.int32]]

#: A text is tokenised in slices of this size, so that a large one needs little memory at a time. MiniLM's
#: tokenizer is as fast with these as with any larger ones.
SLICE_CHARS = 64 * 1024

#: So many tokens are forgotten together: each time the others move up.
FORGOTTEN_AT_ONCE = 64 * 1024


class Tokens:
    """Where each token of a text begins and ends, counted from its first; for one way through the text.

    All of them would take more memory than the text itself. So it is tokenised as far as somebody asks, and
    what lies behind is forgotten.
    """

    def __init__(self, text: str, token_offsets: TokenOffsets) -> None:
        self._text = text
        self._token_offsets = token_offsets
        self._starts = array("I")
        self._ends = array("I")
        self._forgotten = 0  # Tokens that came before these.
        self._seams = array("I")
        self._reached = 0  # How far the text is tokenised.

    def first_after(self, position: int) -> int:
        """Index of the first token that reaches beyond `position`."""
        while not (self._ends and self._ends[-1] > position) and self._tokenise_more():
            pass
        return self._forgotten + bisect_right(self._ends, position)

    def first_from(self, position: int) -> int:
        """Index of the first token that begins at `position` or later."""
        while not (self._starts and self._starts[-1] >= position) and self._tokenise_more():
            pass
        return self._forgotten + bisect_left(self._starts, position)

    def start_of(self, index: int, otherwise: int) -> int:
        """Where the token, which is not forgotten, begins; `otherwise` behind the last one."""
        at = index - self._forgotten
        while at >= len(self._starts) and self._tokenise_more():
            pass
        return self._starts[at] if at < len(self._starts) else otherwise

    def has_seam(self, start: int, end: int) -> bool:
        """Whether two slices meet inside: tokens there may differ from those of the text in one piece."""
        while self._reached < end and self._tokenise_more():
            pass
        at = bisect_right(self._seams, start)
        return at < len(self._seams) and self._seams[at] < end

    def forget(self, before: int) -> None:
        """Nobody asks for a token below this index any more, nor for what lies before it."""
        count = before - self._forgotten
        if count >= FORGOTTEN_AT_ONCE:
            del self._starts[:count], self._ends[:count]
            self._forgotten = before

    def _tokenise_more(self) -> bool:
        """A further slice; False at the end of the text."""
        begin = self._reached
        if begin == len(self._text):
            return False
        self._reached = _slice_end(self._text, begin)
        offsets = self._token_offsets(self._text[begin : self._reached])
        starts, ends = (begin + offsets.T).astype(np.uint32)
        self._starts.frombytes(starts.tobytes())
        self._ends.frombytes(ends.tobytes())
        self._seams.append(self._reached)
        return True


def _slice_end(text: str, begin: int) -> int:
    limit = begin + SLICE_CHARS
    if limit >= len(text):
        return len(text)
    return last_soft_break(text, max(limit - 1024, begin + 1), limit) or limit
