"""Grows a ParsedDocument piece by piece, so that every offset is right from the moment it is noted."""

from __future__ import annotations

import re

from app.errors import NoText, TextTooLong
from app.parsing.parsed_document import Heading, Page, ParsedDocument, Table

MAX_TITLE_CHARS = 500
# Beyond these a document is not helped by more of them, and the answer of the parser must stay bounded.
MAX_HEADINGS = 20_000  # And headers of tables.
MAX_WARNINGS = 20

_SURROGATE = re.compile("[\ud800-\udfff]")
_LINE_END = re.compile("\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")
# Controls, soft hyphens (they would split words for search), byte order marks and the two non-characters.
_REMOVED = re.compile("[\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f\u00ad\ufeff\ufffe\uffff]")
_ODD_SPACE = re.compile("[\u00a0\u2007\u202f]")
# The look-behind keeps this linear: a match can only begin where a run of blanks begins.
_TRAILING = re.compile(r"(?<![ \t])[ \t]++(?=\n|\Z)")
_BLANK_LINES = re.compile(r"\n{3,}")


def clean(text: str, *, keep_blank_lines: bool = False) -> str:
    """Text that PostgreSQL, UTF-8 and people can take.

    Halves of surrogate pairs side by side are joined, lone ones become U+FFFD. Line ends become `\\n`, no
    line ends in blanks, and at most one line in a row is empty unless `keep_blank_lines` (code). Cleaning
    twice changes nothing.
    """
    if not _is_plain(text):
        if _SURROGATE.search(text):
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        text = _LINE_END.sub("\n", text)
        text = _REMOVED.sub("", text)
        text = _ODD_SPACE.sub(" ", text)
    if " \n" in text or "\t\n" in text or text.endswith((" ", "\t")):
        text = _TRAILING.sub("", text)
    if keep_blank_lines or "\n\n\n" not in text:
        return text
    return _BLANK_LINES.sub("\n\n", text)


def _is_plain(text: str) -> bool:
    """Whether it has nothing in it but ASCII to read, tabs and `\\n`: most text, and found out at once."""
    return text.isascii() and text.replace("\n", " ").replace("\t", " ").isprintable()


def one_line(text: str) -> str:
    """The text with every run of white space turned into one space."""
    return " ".join(clean(text).split())


def _as_title(text: str) -> str:
    return one_line(text)[:MAX_TITLE_CHARS].rstrip()


class TextBuilder:
    """Takes text in reading order and keeps pages, headings and the limit of length.

    Each piece is cleaned before it is appended and never changed afterwards: that is why offsets stay right.
    """

    def __init__(self, max_text_chars: int) -> None:
        self.max_text_chars = max_text_chars
        self.length = 0
        self.title: str | None = None
        self._parts: list[str] = []
        self._pages: list[Page] = []
        self._headings: list[Heading] = []
        self._tables: list[Table] = []
        self._warnings: list[str] = []
        self._page_number: int | None = None
        self._page_start: int | None = None

    def paragraph(self, text: str) -> int | None:
        """Append text as a paragraph (or several); returns where it begins, or None if it was blank."""
        return self._put(clean(text), "\n\n")

    def line(self, text: str) -> int | None:
        """Append text on the next line, without an empty line before it."""
        return self._put(clean(text), "\n")

    def verbatim(self, text: str) -> int | None:
        """Append code: its empty lines and its indentation stay as they are."""
        return self._put(clean(text, keep_blank_lines=True), "\n\n")

    def heading(self, title: str, level: int) -> None:
        """Append a heading as a paragraph of its own."""
        title = one_line(title)
        start = self._put(title, "\n\n")
        if start is not None:
            self.mark_heading(title, level, start)

    def mark_heading(self, title: str, level: int, char_start: int) -> None:
        """Note that text which is already there is a heading."""
        if self._may_mark():
            self._headings.append(Heading(max(1, level), _as_title(title), char_start))

    def mark_table(self, header: str, char_start: int) -> None:
        """Note that all from `char_start` to here are the rows below a table's header."""
        if self._may_mark():
            self._tables.append(Table(_as_title(header), char_start, self.length))

    def _may_mark(self) -> bool:
        return len(self._headings) + len(self._tables) < MAX_HEADINGS

    def page(self, number: int) -> None:
        """What follows is on this page; a page without text leaves no trace."""
        self._close_page()
        self._page_number = number

    def warn(self, warning: str) -> None:
        """Tell people what was left out; each warning once."""
        warning = one_line(warning)[:MAX_TITLE_CHARS]
        if warning not in self._warnings and len(self._warnings) < MAX_WARNINGS:
            self._warnings.append(warning)

    def set_title(self, title: str | None) -> None:
        """The first title that is not blank stays."""
        if title and self.title is None:
            self.title = one_line(title)[:MAX_TITLE_CHARS].rstrip() or None

    def first_heading_is_title(self) -> None:
        if self._headings and self._headings[0].level == 1:
            self.set_title(self._headings[0].title)

    def build(self, media_type: str) -> ParsedDocument:
        """The finished document.

        Raises:
            NoText: Nothing was appended.
        """
        self._close_page()
        if not self.length:
            raise NoText("The document has no text in it.", media_type=media_type)
        return ParsedDocument(
            text="".join(self._parts),
            media_type=media_type,
            title=self.title,
            pages=tuple(self._pages),
            headings=tuple(sorted(self._headings, key=lambda heading: heading.char_start)),
            tables=tuple(self._tables),
            warnings=tuple(self._warnings),
        )

    def _put(self, text: str, separator: str) -> int | None:
        text = text.strip("\n").rstrip()
        if not text:
            return None
        start = self.length + len(separator) if self.length else 0
        if start + len(text) > self.max_text_chars:
            raise TextTooLong(self.max_text_chars)
        if start:
            self._parts.append(separator)
        self._parts.append(text)
        self.length = start + len(text)
        if self._page_number is not None and self._page_start is None:
            self._page_start = start
        return start

    def _close_page(self) -> None:
        if self._page_number is not None and self._page_start is not None:
            self._pages.append(Page(self._page_number, self._page_start, self.length))
        self._page_number = self._page_start = None
