"""What is known about keys: the lexemes that each is found by, and where those are weighed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.words.forms import Form, Forms, forms_of, without_accents
from app.words.slots import slot_of

#: Between the stems of a text, where a dictionary knows several.
BETWEEN_STEMS = "\n"


class Term(NamedTuple):
    """A lexeme that a key is found by."""

    at: int  # By which of the key's parts, from 0.
    lexeme: str


class Occurrences(NamedTuple):
    """The lexemes of some keys, one behind the other."""

    lexemes: NDArray[np.int64]  # (n,), their numbers.
    keys: NDArray[np.int64]  # (n,), which of the keys each is of.
    places: NDArray[np.int64]  # (n,), from 0, as if the keys were one text.
    begins: NDArray[np.int64]  # (keys + 1,): the place where each key begins, and where the last one ends.


class Lexicon:
    """Keys of one language; what is known of one is known for good."""

    def __init__(self) -> None:
        self._keys: dict[str, int] = {}
        self._characters = 0
        # By the number of a key: how many places its parts take, and where its terms begin and end.
        self._widths = np.zeros(0, np.int64)
        self._ends = np.zeros(1, np.int64)
        # Of all terms.
        self._places = np.zeros(0, np.int64)
        self._lexemes = np.zeros(0, np.int64)
        self._numbers: dict[str, int] = {}
        #: By the number of a lexeme: how it is written into a `tsvector`, and where it is weighed.
        self.heads: list[bytes] = []
        self.slots = np.zeros(0, np.int64)

    @property
    def size_bytes(self) -> int:
        """About what it takes of memory."""
        return 200 * len(self._keys) + 4 * self._characters + 250 * len(self.heads) + 16 * len(self._places)

    def unknown(self, keys: Iterable[str]) -> dict[str, Forms]:
        """Those that are not known yet, with the forms that a dictionary is asked about."""
        return {key: forms_of(key) for key in set(keys).difference(self._keys)}

    def learn(self, unknown: Mapping[str, Forms], stems: Mapping[str, str]) -> None:
        """Know these keys from now on.

        Args:
            unknown: As `unknown` gave them; one that is known by now stays as it is.
            stems: Of each text that their forms ask for, with `BETWEEN_STEMS`; "" if it says nothing.
        """
        new = {key: forms for key, forms in unknown.items() if key not in self._keys}
        terms = [list(dict.fromkeys(_terms_of(forms, stems))) for forms in new.values()]
        self._keys |= zip(new, range(len(self._keys), len(self._keys) + len(new)), strict=True)
        self._characters += sum(map(len, new))
        counts = np.fromiter(map(len, terms), np.int64, len(terms))
        self._ends = np.append(self._ends, self._ends[-1] + counts.cumsum())
        self._widths = np.append(self._widths, [forms.width for forms in new.values()]).astype(np.int64)
        self._places = np.append(self._places, [term.at for each in terms for term in each]).astype(np.int64)
        numbers = [self._number(term.lexeme) for each in terms for term in each]
        self._lexemes = np.append(self._lexemes, numbers).astype(np.int64)
        slots = [slot_of(head[:-1]) for head in self.heads[len(self.slots) :]]
        self.slots = np.append(self.slots, slots).astype(np.int64)

    def _number(self, lexeme: str) -> int:
        number = self._numbers.setdefault(lexeme, len(self.heads))
        if number == len(self.heads):
            self.heads.append(lexeme.encode() + b"\0")
        return number

    def width(self, key: str) -> int:
        """How many places a known key takes."""
        return int(self._widths[self._keys[key]])

    def terms(self, key: str) -> list[Term]:
        """What a known key is found by."""
        number = self._keys[key]
        return [
            Term(int(self._places[at]), self.heads[self._lexemes[at]][:-1].decode())
            for at in range(self._ends[number], self._ends[number + 1])
        ]

    def having(self, lexemes: Iterable[str], keys: Sequence[str]) -> list[int]:
        """Which of the keys, all of which are known, are found by any of these: their indices."""
        numbers = [self._numbers[lexeme] for lexeme in lexemes if lexeme in self._numbers]
        found = self.occurrences(keys)
        return [int(key) for key in np.unique(found.keys[np.isin(found.lexemes, numbers)])]

    def occurrences(self, keys: Sequence[str]) -> Occurrences:
        """What these are found by, and where; all of them are known."""
        numbers = np.fromiter(map(self._keys.__getitem__, keys), np.int64, len(keys))
        widths, ends = self._widths[numbers], self._ends[numbers + 1]
        counts = ends - self._ends[numbers]
        owners = np.arange(len(keys)).repeat(counts)
        terms = np.arange(len(owners)) + (ends - counts.cumsum()).repeat(counts)
        begins = np.append(0, widths.cumsum())
        return Occurrences(self._lexemes[terms], owners, begins[owners] + self._places[terms], begins)


def _terms_of(forms: Forms, stems: Mapping[str, str]) -> Iterable[Term]:
    for form in forms.forms:
        for lexeme in _lexemes_of(form, stems):
            yield Term(form.at, lexeme)


def _lexemes_of(form: Form, stems: Mapping[str, str]) -> list[str]:
    if not form.asked:
        return [form.text]
    if not stems[form.asked[0]]:
        return []
    found = [stem for asked in form.asked for stem in stems[asked].split(BETWEEN_STEMS) if stem]
    return [without_accents(stem) for stem in found]
