"""All tokens of a text, in a few bytes each."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence

from app.chunking.breaks import last_soft_break

TokenOffsets = Callable[[str], Sequence[tuple[int, int]]]

#: A text is tokenised in slices of this size, so that a large one needs little memory at a time. MiniLM's
#: tokenizer is as fast with these as with any larger ones.
SLICE_CHARS = 64 * 1024


class Tokens:
    """Where each token of a text begins and ends."""

    def __init__(self, text: str, token_offsets: TokenOffsets) -> None:
        self.starts = array("I")
        self.ends = array("I")
        self._seams = array("I")
        begin = 0
        while begin < len(text):
            end = _slice_end(text, begin)
            offsets = token_offsets(text[begin:end])
            self.starts.extend(begin + offset[0] for offset in offsets)
            self.ends.extend(begin + offset[1] for offset in offsets)
            self._seams.append(end)
            begin = end

    def first_after(self, position: int) -> int:
        """Index of the first token that reaches beyond `position`."""
        return bisect_right(self.ends, position)

    def first_from(self, position: int) -> int:
        """Index of the first token that begins at `position` or later."""
        return bisect_left(self.starts, position)

    def start_of(self, index: int, otherwise: int) -> int:
        """Where the token begins; `otherwise` behind the last one."""
        return self.starts[index] if index < len(self.starts) else otherwise

    def has_seam(self, start: int, end: int) -> bool:
        """Whether two slices meet inside: tokens there may differ from those of the text in one piece."""
        at = bisect_right(self._seams, start)
        return at < len(self._seams) and self._seams[at] < end


def _slice_end(text: str, begin: int) -> int:
    limit = begin + SLICE_CHARS
    if limit >= len(text):
        return len(text)
    return last_soft_break(text, max(limit - 1024, begin + 1), limit) or limit
