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
SENTENCE = re.compile(rf"(?<=[.!?…])[\"'”’»)\]]*[{SPACE}]+|[。！？｡]+[」』”’）]*[{SPACE}]*|\n[{SPACE}]*")
WORD = re.compile(rf"[{SPACE}]+")

#: What belongs to the character before it: joiners, variation selectors, skin tones, tags.
EXTENDERS = re.compile("[\u200c\u200d\ufe00-\ufe0f\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]")

#: How far back the start of a word is looked for.
LONGEST_WORD = 4096


class Breaks:
    """The beginnings of paragraphs and sentences in a text, found once; those of words on demand."""

    def __init__(self, text: str, headings: Iterable[int]) -> None:
        self._text = text
        self.headings = array("Q", headings)
        self.paragraphs = array("Q", (found.end() for found in PARAGRAPH.finditer(text)))
        self.sentences = array("Q", (found.end() for found in SENTENCE.finditer(text)))

    def first_heading(self, low: int, high: int) -> int | None:
        """The first heading in `[low, high]`."""
        at = bisect_left(self.headings, low)
        return self.headings[at] if at < len(self.headings) and self.headings[at] <= high else None

    def best_end(self, low: int, high: int) -> int | None:
        """Where the last paragraph in `[low, high]` begins, else the last sentence, else the last word."""
        paragraph = _last(self.paragraphs, low, high)
        return paragraph or _last(self.sentences, low, high) or self._last_word(low, high)

    def best_start(self, low: int, high: int) -> int | None:
        """The first sentence's beginning in `[low, high)`, else the first word's."""
        at = bisect_left(self.sentences, low)
        if at < len(self.sentences) and self.sentences[at] < high:
            return self.sentences[at]
        found = WORD.search(self._text, max(low - 1, 0), high)
        return found.end() if found is not None and low <= found.end() < high else None

    def whole_character(self, position: int, low: int) -> int:
        """The nearest place at or before `position` that parts no character from its marks."""
        end = position
        while low < end < len(self._text) and self._joins(end):
            end -= 1
        return end if end > low else position

    def _last_word(self, low: int, high: int) -> int | None:
        begin = max(low - 1, high - LONGEST_WORD, 0)
        last = None
        for found in WORD.finditer(self._text, begin, high):
            last = found
        return last.end() if last is not None and last.end() >= low else None

    def _joins(self, position: int) -> bool:
        after, before = self._text[position], self._text[position - 1]
        return (
            unicodedata.combining(after) != 0
            or unicodedata.category(after) in {"Mn", "Mc", "Me"}
            or EXTENDERS.match(after) is not None
            or before == "\u200d"
        )


def _last(positions: array[int], low: int, high: int) -> int | None:
    at = bisect_right(positions, high) - 1
    return positions[at] if at >= 0 and positions[at] >= low else None
