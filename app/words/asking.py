"""What a question's words are looked for by, and where a text has them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator
from itertools import pairwise
from typing import NamedTuple

from app.words.lexicon import Lexicon
from app.words.reading import is_unspaced, placed

_PART = re.compile(r"[^._@]+")


class Span(NamedTuple):
    """Characters `[start:end]` of a text."""

    start: int
    end: int


def asked_lexemes(text: str, lexicon: Lexicon) -> list[str]:
    """What any of the text's words, whose keys are known, are found by; each once."""
    return list(dict.fromkeys(lexeme for _, lexeme in _asked(text, lexicon)))


def phrase_query(text: str, lexicon: Lexicon) -> str | None:
    """A `tsquery` of the words, one behind the other as they are here; None when none says anything."""
    by_place: dict[int, list[str]] = defaultdict(list)
    for place, lexeme in _asked(text, lexicon):
        by_place[place].append(quoted(lexeme))
    if not by_place:
        return None
    first, *others = sorted(by_place)
    steps = "".join(
        f" <{place - before}> {_any_of(by_place[place])}" for before, place in pairwise([first, *others])
    )
    return _any_of(by_place[first]) + steps


def _any_of(terms: list[str]) -> str:
    return f"( {' | '.join(terms)} )"


def quoted(lexeme: str) -> str:
    """The lexeme as a `tsquery` has it."""
    escaped = lexeme.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


def _asked(text: str, lexicon: Lexicon) -> Iterator[tuple[int, str]]:
    """Places and lexemes. A character is looked for by itself only where it stands alone."""
    place = 0
    last_end = 0
    for key, start, end in placed(text):
        terms = lexicon.terms(key)
        if is_unspaced(key):
            terms = terms[:1] if len(key) > 1 or start >= last_end else []
        for term in terms:
            yield place + term.at, term.lexeme
        place += lexicon.width(key)
        last_end = end


def spans_of(lexemes: Collection[str], text: str, lexicon: Lexicon) -> list[Span]:
    """Where a text, whose keys are known, has any of the lexemes; in order, and none within another."""
    there = list(placed(text))
    spans: list[Span] = []
    for number in lexicon.having(lexemes, [each.key for each in there]):
        for start, end in _spans_in(*there[number], lexemes, lexicon):
            if spans and start <= spans[-1].end:  # Pairs of characters.
                spans[-1] = Span(spans[-1].start, max(end, spans[-1].end))
            else:
                spans.append(Span(start, end))
    return spans


def _spans_in(
    key: str, start: int, end: int, lexemes: Collection[str], lexicon: Lexicon
) -> Iterator[tuple[int, int]]:
    found = [term for term in lexicon.terms(key) if term.lexeme in lexemes]
    if is_unspaced(key):
        yield start, end if any(len(term.lexeme) == len(key) for term in found) else start + 1
        return
    parts = [match.span() for match in _PART.finditer(key)]
    if len(parts) != lexicon.width(key) or any(_PART.fullmatch(term.lexeme) is None for term in found):
        yield start, end
        return
    for at in dict.fromkeys(term.at for term in found):
        yield start + parts[at][0], start + parts[at][1]
