"""What a key is looked up by: its parts, without accents, in the forms that a dictionary is asked about."""

from __future__ import annotations

import unicodedata
from itertools import pairwise
from typing import NamedTuple

from app.words.reading import is_unspaced

#: Letters that are not another one with an accent, and are looked for by others all the same.
_ALIKE = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i", "ё": "е"}
)

#: They are in words, and mean nothing: soft hyphens, joiners, marks of direction and of order.
_SILENT = dict.fromkeys([0xAD, 0x200C, 0x200D, 0x200E, 0x200F, 0x2060, 0xFEFF])

#: What ties parts to each other.
_TIES = dict.fromkeys(map(ord, "._@"))

#: PostgreSQL takes no longer lexeme.
MOST_BYTES = 2_046


class Form(NamedTuple):
    """What a part of a key is found by: what a dictionary makes of it, or itself."""

    at: int  # Which of the key's parts it is, from 0.
    text: str
    asked: tuple[str, ...] = ()  # For these; nothing, if it knows that the first one says nothing.


class Forms(NamedTuple):
    """All that a key is found by."""

    forms: tuple[Form, ...]
    width: int  # How many parts the key has.


def forms_of(key: str) -> Forms:
    """The forms of a key, of which those at the same place mean the same."""
    if key.isascii() and key.isalnum():  # As most are.
        return Forms(_short([_of_part(key.lower(), 0)]), 1)
    if is_unspaced(key):
        return _of_characters(key)
    text = unicodedata.normalize("NFKC", key.translate(_SILENT)).lower()
    parts = _parts(text)
    if len(parts) > 1 and text.replace(".", "").isdigit():
        return Forms(_short([Form(0, text.strip("."))]), 1)
    forms = [_of_part(part, at) for at, part in enumerate(parts)]
    if len(parts) > 1 and len("".join(parts)) == len(text.translate(_TIES)):
        forms.insert(0, Form(0, without_accents(text.strip("._@"))))
    return Forms(_short(forms), len(parts))


def without_accents(text: str) -> str:
    """The text with plain letters for those of Latin and Greek that have accents, as people type them."""
    if text.isascii():
        return text
    apart = unicodedata.normalize("NFD", text.translate(_ALIKE))
    # Latin and Greek come before Cyrillic, where й is another letter than и.
    plain = [
        char
        for before, char in pairwise(f" {apart}")
        if not ("\u0300" <= char <= "\u036f" and before < "\u0400")
    ]
    return unicodedata.normalize("NFC", "".join(plain))


def _of_characters(key: str) -> Forms:
    """A pair is found as itself and by its first character, behind which the next pair begins."""
    found = [key, key[0]] if len(key) == 2 else [key]
    return Forms(tuple(Form(0, text) for text in found), 1)


def _parts(text: str) -> list[str]:
    """Letters, digits and marks, as far as they are one behind the other."""
    spaced = (char if unicodedata.category(char)[0] in "LNM" else " " for char in text)
    return [part for part in "".join(spaced).split() if any(map(str.isalnum, part))]


def _of_part(part: str, at: int) -> Form:
    plain = without_accents(part)
    if not part.isalpha() and any(map(str.isdecimal, part)):
        return Form(at, plain)
    return Form(at, plain, (part,) if plain == part else (part, plain))


def _short(forms: list[Form]) -> tuple[Form, ...]:
    return tuple(form for form in forms if len(form.text.encode()) <= MOST_BYTES)
