"""Where the words of a text are.

A text is read into keys, by which a lexicon knows what it is found by: mostly words as they are written, with
what dots and underscores tie together (`app.client.errors`, `snake_case`). Chinese, Japanese, Thai and others
are written without spaces, and Korean ties to a word what other languages put beside it: there each character
is a key, with the one behind it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

#: The version of the rules in this package: what was read by those of another one is read anew.
RULES = 2

#: Scripts whose words are not told apart by spaces.
_UNSPACED = (
    "\u0e01-\u0e4e\u0e81-\u0ece"  # Thai, Lao: without their digits and signs.
    "\u1000-\u103f\u1050-\u108f\u1780-\u17d3"  # Burmese, Khmer.
    "\u3005\u3007\u3041-\u3096\u3099\u309a\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
    "\uff66-\uff9f"  # Kana.
    "\u1100-\u11ff\u3131-\u318e\uac00-\ud7a3"  # Hangul.
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"  # Han.
)

#: What is in no word: blanks, punctuation and signs, as far as texts are full of them. The rest of those is
#: found when a key is looked at closely (`forms.py`), as are soft hyphens and the like, which are in words.
_APART = (
    r"\s\x00-\x2d\x2f\x3a-\x3f\x5b-\x5e\x60\x7b-\x9f\xa1-\xa9\xab\xac\xae-\xb1\xb4\xb6-\xb8\xbb\xbf\xd7\xf7"
    r"\u200b\u2010-\u205e\u2190-\u245f\u2500-\u2bff\u2e00-\u2e2e\u2e30-\u2e7f"
    r"\u3000-\u3004\u3008-\u3020\u3030\u303d\u30a0\u30fb"
    r"\ufe30-\ufe6b\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"
)

_PART = f"[^{_APART}.@{_UNSPACED}]+"
WORD = re.compile(f"{_PART}(?:[.@]{_PART})*")
_UNSPACED_RUN = re.compile(f"[{_UNSPACED}]+")
_HALF_WIDTH = re.compile("[\uff66-\uff9f]")
_WORD_OR_RUN = re.compile(f"(?P<run>{_UNSPACED_RUN.pattern})|{WORD.pattern}")


class Placed(NamedTuple):
    """A key and the characters `[start:end]` of the text that it stands for."""

    key: str
    start: int
    end: int


def written(text: str) -> list[str]:
    """The keys of a text that is to be found, in their order."""
    if text.isascii() or _UNSPACED_RUN.search(text) is None:
        return WORD.findall(text)
    keys: list[str] = []
    for match in _WORD_OR_RUN.finditer(text):
        if match["run"]:
            run = _composed(match["run"])
            keys += [run[at : at + 2] for at in range(len(run))]
        else:
            keys.append(match[0])
    return keys


def placed(text: str) -> Iterator[Placed]:
    """The keys of a text, and where each is."""
    for match in _WORD_OR_RUN.finditer(text):
        start, end = match.span()
        if not match["run"]:
            yield Placed(match[0], start, end)
            continue
        run = _composed(match["run"])
        for at in range(len(run)):
            pair = run[at : at + 2]
            if len(run) == end - start:
                yield Placed(pair, start + at, start + at + len(pair))
            else:
                yield Placed(pair, start, end)  # Which of its characters became which, cannot be told.


def is_unspaced(text: str) -> bool:
    """Whether all of it is written in scripts without spaces."""
    return _UNSPACED_RUN.fullmatch(text) is not None


def _composed(run: str) -> str:
    """One character for what is one, as far as there is; of kana of half the width, the usual ones."""
    return unicodedata.normalize("NFKC" if _HALF_WIDTH.search(run) else "NFC", run)
