"""Markdown: the source stays readable as it is, headings lose their marks; they and tables are noted."""

from __future__ import annotations

import re
from typing import BinaryIO

from app.parsing.text import read_text
from app.parsing.text_builder import TextBuilder, clean

_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*))?$")
_CLOSING_MARKS = re.compile(r"(?:^|[ \t])#+$")
_SETEXT = re.compile(r" {0,3}(=+|-+)$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)$")
_NOT_A_SETEXT_TITLE = re.compile(r" {0,3}(?:[-*+>|]|\d+[.)]\s)| {4}|\t|.*\|")
#: Below the header of a table: `|---|:--:|`.
_RULE = re.compile(r" {0,3}\|?[ \t]*+:?-++:?[ \t]*+(?:\|[ \t]*+:?-++:?[ \t]*+)*+\|?[ \t]*+$")
_CELL_END = re.compile(r"(?<!\\)\|")
_FRONT_MATTER = re.compile(r"---\n(.*?)\n(?:---|\.\.\.)(?:\n|\Z)", re.DOTALL)
_TITLE_FIELD = re.compile(r"^title:[ \t]*(.+)$", re.MULTILINE | re.IGNORECASE)
_LINK = re.compile(r"!?\[([^\[\]]*)\](?:\([^()]*\)|\[[^\[\]]*\])")
# A row of backticks counts as a whole, or a long one would be tried in all its parts.
_EMPHASIS = re.compile(r"(\*\*|__|(?<!`)`++|~~)(.+?)\1")


def parse(file: BinaryIO, builder: TextBuilder) -> None:
    text = clean(read_text(file, builder), keep_blank_lines=True)
    _Reader(builder).read(_take_front_matter(text, builder).split("\n"))
    builder.first_heading_is_title()


def _take_front_matter(text: str, builder: TextBuilder) -> str:
    """The fields stay in the text, for tags and summaries are worth finding; their fences go."""
    match = _FRONT_MATTER.match(text)
    if match is None:
        return text
    title = _TITLE_FIELD.search(match[1])
    if title is not None:
        builder.set_title(title[1].strip().strip("\"'"))
    builder.paragraph(match[1])
    return text[match.end() :]


def _plain(title: str) -> str:
    return _EMPHASIS.sub(r"\2", _LINK.sub(r"\1", title))


def _row(line: str) -> str:
    """A table's row as other formats have it, without marks around it."""
    return " | ".join(cell.strip() for cell in _CELL_END.split(line.strip().strip("|")))


class _Reader:
    """Goes through the lines once; `body` holds those that are not yet in the builder.

    While a table is open, these are its header, the rule below that, and rows.
    """

    def __init__(self, builder: TextBuilder) -> None:
        self.builder = builder
        self.body: list[str] = []
        self.in_table = False
        self.below_text = False  # The table has no empty line before it.

    def read(self, lines: list[str]) -> None:
        fence: str | None = None
        for line in lines:
            if fence is not None:
                self.body.append(line)
                if self._closes(line, fence):
                    self._flush(code=True)
                    fence = None
            elif (match := _FENCE.match(line)) and not (match[1][0] == "`" and "`" in match[2]):
                self._flush()
                fence = match[1]
                self.body.append(line)
            else:
                self._read_prose(line)
        self._flush(code=fence is not None)

    @staticmethod
    def _closes(line: str, fence: str) -> bool:
        match = _FENCE.match(line)
        return match is not None and match[1].startswith(fence) and not match[2].strip()

    def _read_prose(self, line: str) -> None:
        if match := _ATX.match(line):
            self._heading(_CLOSING_MARKS.sub("", match[2] or ""), len(match[1]))
        elif (match := _SETEXT.match(line)) and self._last_line_is_a_title():
            title = self.body.pop()
            self._heading(title, 1 if match[1][0] == "=" else 2)
        elif not self.in_table and "|" in line and _RULE.match(line) and self.body and "|" in self.body[-1]:
            self._begin_table(line)
        else:
            if not line.strip():
                self._end_table()
            self.body.append(line)

    def _last_line_is_a_title(self) -> bool:
        """One line of text, with nothing or an empty line above it."""
        if not self.body or not self.body[-1].strip() or _NOT_A_SETEXT_TITLE.match(self.body[-1]):
            return False
        return len(self.body) == 1 or not self.body[-2].strip()

    def _begin_table(self, rule: str) -> None:
        header = self.body.pop()
        self.below_text = bool(self.body and self.body[-1].strip())
        self._flush()
        self.in_table = True
        self.body = [header, rule]

    def _end_table(self) -> None:
        if not self.in_table:
            return
        header, rule, *rows = self.body
        self.body.clear()
        self.in_table = False
        append = self.builder.line if self.below_text else self.builder.paragraph
        append(f"{header}\n{rule}")
        start = self.builder.line("\n".join(rows))
        if start is not None and any(map(str.isalnum, header)):  # Markdown has no tables without one.
            self.builder.mark_table(_plain(_row(header)), start)

    def _heading(self, title: str, level: int) -> None:
        self._flush()
        self.builder.heading(_plain(title), level)

    def _flush(self, *, code: bool = False) -> None:
        self._end_table()
        text = "\n".join(self.body)
        self.body.clear()
        if code:
            self.builder.verbatim(text)
        else:
            self.builder.paragraph(text)
