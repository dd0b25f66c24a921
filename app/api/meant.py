"""What somebody meant who used a name that there is not."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

#: How alike a misspelt name and the right one are: `fromat` and `format`, `colection` and `collections`.
ALIKE = 0.7

#: Longer ones are nobody's slip, and comparing takes the square of their length.
MAX_CHARS = 100


def meant(name: str, known: Sequence[str]) -> str | None:
    """The one that is spelt most like it, else one that has a word of it: `error_code` for `codes`."""
    if len(name) > MAX_CHARS:
        return None
    alike = get_close_matches(name.lower(), known, n=1, cutoff=ALIKE)
    related = (each for each in known if _words(each) & _words(name.lower()))
    return next(iter(alike), None) or next(related, None)


def _words(name: str) -> set[str]:
    return {word.removesuffix("s") for word in name.split("_")} - {""}
