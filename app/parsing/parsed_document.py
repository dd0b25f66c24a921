"""What every parser returns."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Page:
    """A page (PDF), slide (PPTX) or sheet (XLSX): `text[char_start:char_end]` of the document is on it."""

    number: int  # From 1.
    char_start: int
    char_end: int


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading whose title begins at `char_start` of the document's text."""

    level: int  # 1 is the outermost.
    title: str
    char_start: int


@dataclass(frozen=True, slots=True)
class Table:
    """`text[char_start:char_end]` are the rows of a table below its header."""

    header: str  # That row, as it is in the text.
    char_start: int
    char_end: int


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """Plain text with its pages, headings and tables, in reading order.

    `text` has `\\n` line ends, no NUL and no lone surrogates, so that PostgreSQL and UTF-8 take it as it is.
    Paragraphs are separated by an empty line. `pages`, `headings` and `tables` are sorted by `char_start`;
    `pages` is empty where the format has none, `tables` has those with a header.
    """

    text: str
    media_type: str
    title: str | None = None
    pages: tuple[Page, ...] = ()
    headings: tuple[Heading, ...] = ()
    tables: tuple[Table, ...] = ()
    warnings: tuple[str, ...] = ()
