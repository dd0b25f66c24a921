"""Where a text may be cut, the better places first."""

from __future__ import annotations

import re
import unicodedata
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable

#: White space that every tokenizer takes for the end of a word. Python knows more (U+001C to U+001F, U+0085),
#: which BERT's normaliser removes instead: a cut there would part a word.
SPACE = " \t\n\r\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"

PARAGRAPH = re.compile(rf"\n[{SPACE}]*\n[{SPACE}]*")
#: What ends before a `|` is a cell of a table's row, and no sentence.
#: The one set in front of all alternatives lets `re` leap over what is not in it: seven times as fast.
SENTENCE = re.compile(
    r"[.!?…。！？｡\n](?:"
    rf"(?<=[.!?…])[\"'”’»)\]]*[{SPACE}]++(?!\|)|(?<=[。！？｡])[。！？｡]*[」』”’）]*[{SPACE}]*|(?<=\n)[{SPACE}]*"
    r")"
)
#: Between two cells of a row, as the parsers of tables write it.
CELL = " | "
#: Chinese and Japanese have no space between words: there the end of a clause serves for the end of a word.
WORD = re.compile(rf"[{SPACE}]+|[、，；：]+[{SPACE}]*")

#: A cut beside these changes no token on either side.
SOFT_BEFORE = re.compile(rf"[{SPACE}。！？｡」』、，；：]")
SOFT_AFTER = re.compile(rf"[{SPACE}]")

#: Kana and Chinese characters: a word may begin at any of them, as far as one can tell without a dictionary.
UNSPACED = re.compile(
    "[\u3041-\u3096\u30a1-\u30fa\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)

#: What belongs to the character before it: vowels and finals of Korean syllables in parts, joiners, variation
#: selectors, skin tones, tags.
EXTENDERS = re.compile("[\u1160-\u11ff\u200c\u200d\ufe00-\ufe0f\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]")
FLAG_LETTERS = re.compile("[\U0001f1e6-\U0001f1ff]")

#: How far back the start of a word is looked for, and that of a row of flags.
LONGEST_WORD = 4096
LONGEST_ROW = 256


class Breaks:
    """The beginnings of paragraphs and sentences in a text, found once; those of words on demand."""

    def __init__(self, text: str, headings: Iterable[int]) -> None:
        self._text = text
        self.headings = array("I", headings)
        self.paragraphs = array("I", (found.end() for found in PARAGRAPH.finditer(text)))
        self.sentences = array("I", (found.end() for found in SENTENCE.finditer(text)))

    def first_heading(self, low: int, high: int) -> int | None:
        """The first heading in `[low, high]`."""
        at = bisect_left(self.headings, low)
        return self.headings[at] if at < len(self.headings) and self.headings[at] <= high else None

    def best_end(self, low: int, high: int) -> int | None:
        """Where the last paragraph in `[low, high]` begins, else the last sentence, else the last word."""
        paragraph = _last(self.paragraphs, low, high)
        return paragraph or _last(self.sentences, low, high) or last_soft_break(self._text, low, high)

    def best_start(self, low: int, high: int) -> int | None:
        """The first sentence's beginning in `[low, high)`, else the first word's.

        None where that would be in the middle of a table's row: half a row says nothing.
        """
        at = bisect_left(self.sentences, low)
        if at < len(self.sentences) and self.sentences[at] < high:
            return self.sentences[at]
        if CELL in self._text[low:high]:
            return None
        found = WORD.search(self._text, max(low - 1, 0), high)
        if found is not None and low <= found.end() < high:
            return found.end()
        unspaced = UNSPACED.search(self._text, low, high)
        return unspaced.start() if unspaced is not None else None

    def is_soft(self, position: int) -> bool:
        """Whether a text that begins or ends here has the tokens that it has in the whole."""
        if position in {0, len(self._text)}:
            return True
        before, after = self._text[position - 1], self._text[position]
        return SOFT_BEFORE.match(before) is not None or SOFT_AFTER.match(after) is not None

    def whole_character(self, position: int, low: int) -> int:
        """The nearest place at or before `position`, behind `low`, that parts no character from its marks."""
        end = position
        while low < end < len(self._text) and self._joins(end):
            end -= 1
        return end if end > low else position

    def _joins(self, position: int) -> bool:
        after, before = self._text[position], self._text[position - 1]
        return (
            unicodedata.category(after) in {"Mn", "Mc", "Me"}
            or EXTENDERS.match(after) is not None
            or before == "\u200d"
            or self._is_inside_flag(position)
        )

    def _is_inside_flag(self, position: int) -> bool:
        """A flag is a pair of letters of its own kind, so an odd number of them before means its middle."""
        if FLAG_LETTERS.match(self._text, position) is None:
            return False
        first = position
        while first > max(position - LONGEST_ROW, 0) and FLAG_LETTERS.match(self._text, first - 1):
            first -= 1
        return (position - first) % 2 == 1


def last_soft_break(text: str, low: int, high: int) -> int | None:
    """Where the last word, or the last clause of a text without spaces, begins in `[low, high]`."""
    last = None
    for found in WORD.finditer(text, max(low - 1, high - LONGEST_WORD, 0), high):
        last = found
    return last.end() if last is not None and last.end() >= low else None


def _last(positions: array[int], low: int, high: int) -> int | None:
    at = bisect_right(positions, high) - 1
    return positions[at] if at >= 0 and positions[at] >= low else None
