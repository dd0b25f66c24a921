"""Rows of a table as lines, cells parted by ` | `; and which of them says what the others are about."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from app.parsing.text_builder import TextBuilder, one_line

#: A header is looked for in so many rows: above it, sheets have a title, a date, an empty cell or two.
HEADER_WITHIN = 10

#: What is longer is no name of a column.
MAX_LABEL_CHARS = 80

_LETTER = re.compile(r"[^\W\d_]")
_DIGIT = re.compile(r"\d")
_YEAR = re.compile(r"(?:19|20)\d\d")
_TRUTHS = frozenset({"true", "false"})


def append_table(builder: TextBuilder, rows: Iterable[Iterable[str]]) -> None:
    """Append all rows of a table whose format does not tell headers."""
    table = Rows(builder)
    for row in rows:
        table.add(row)
    table.end()


class Rows:
    """Takes the rows of one table into a builder, in their order."""

    def __init__(self, builder: TextBuilder) -> None:
        self._builder = builder
        self._count = 0
        self._header: str | None = None
        self._body_start: int | None = None

    def add(self, cells: Iterable[str], *, is_header: bool | None = None) -> None:
        """Append a row on a line of its own, without empty cells at its end; none if all are empty.

        Args:
            cells: Their texts.
            is_header: Whether the format says so; None where it says nothing.
        """
        texts = [one_line(cell) for cell in cells]
        while texts and not texts[-1]:
            texts.pop()
        start = (self._builder.line if self._count else self._builder.paragraph)(" | ".join(texts))
        if start is None:
            return
        self._count += 1
        if self._header is not None:
            self._body_start = start if self._body_start is None else self._body_start
        elif len(texts) > 1 and self._count <= HEADER_WITHIN:
            is_header = has_labels(texts) if is_header is None else is_header
            self._header = " | ".join(texts) if is_header else None

    def end(self) -> None:
        """Note the header, if there is one, with something below it."""
        if self._header is not None and self._body_start is not None:
            self._builder.mark_table(self._header, self._body_start)


def has_labels(cells: Sequence[str]) -> bool:
    """Whether a row looks like a header: two names of columns at least, and no values.

    What tells values is that they have digits and no letters; years may be names of columns.
    """
    filled = [cell for cell in cells if cell]
    return (
        len(set(filled)) > 1
        and 2 * len(filled) >= len(cells)
        and not any(len(cell) > MAX_LABEL_CHARS or _is_value(cell) for cell in filled)
        and any(map(_LETTER.search, filled))
    )


def _is_value(cell: str) -> bool:
    if cell.lower() in _TRUTHS:
        return True
    return _DIGIT.search(cell) is not None and not (_LETTER.search(cell) or _YEAR.fullmatch(cell))
