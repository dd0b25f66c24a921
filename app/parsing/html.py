"""HTML: what a reader sees, block by block."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from selectolax.lexbor import LexborHTMLParser, LexborNode

from app.parsing.encodings import decode
from app.parsing.tables import Rows
from app.parsing.text_builder import TextBuilder

_DROPPED = frozenset({
    "head", "script", "style", "template", "noscript", "nav", "svg", "math", "iframe", "object", "embed",
    "canvas", "audio", "video", "map", "button", "select", "option", "datalist",
    "-comment", "_comment", "-doctype", "!doctype",
})  # fmt: skip
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BLOCKS = frozenset({
    "address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "dialog",
    "dir", "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "header", "hr", "legend",
    "li", "main", "menu", "ol", "p", "pre", "section", "summary", "table", "tbody", "td", "tfoot", "th",
    "thead", "tr", "ul", *_HEADINGS,
})  # fmt: skip
_CELLS = frozenset({"td", "th"})
_GROUPS_OF_ROWS = frozenset({"thead", "tbody", "tfoot"})
_MAX_COLUMNS = 100  # That cells span rows in: beyond, a page of many short rows would grow a hundredfold.
_MAX_COLSPAN, _MAX_ROWSPAN = 1_000, 65_534  # As in browsers.
_SPACE = re.compile(r"\s+")
_SPACES = re.compile(r" {2,}")
_META_CHARSET = re.compile(
    rb"""<meta[^>]{0,300}?charset\s*=\s*["']?\s*([A-Za-z0-9_:.\-]{1,40})""", re.IGNORECASE
)
_META_WITHIN_BYTES = 4096


def parse(file: BinaryIO, builder: TextBuilder) -> None:
    data = file.read()
    html, warning = decode(data, declared_charset(data))
    if warning is not None:
        builder.warn(warning)
    append_html(html, builder)


def declared_charset(data: bytes) -> str | None:
    """The encoding that a `<meta>` names. UTF-16 cannot be true there, since the tag was read as ASCII."""
    match = _META_CHARSET.search(data[:_META_WITHIN_BYTES])
    if match is None:
        return None
    name = match[1].decode("ascii")
    return "utf-8" if name.lower().startswith("utf-16") else name


def append_html(html: str, builder: TextBuilder) -> None:
    """Append the text of a whole page or of a fragment."""
    tree = LexborHTMLParser(html)
    title = tree.css_first("head > title")
    if title is not None:
        builder.set_title(title.text())
    if tree.root is not None:
        _Writer(builder).write(tree.root)
    builder.first_heading_is_title()


def _walk(root: LexborNode) -> Iterator[tuple[LexborNode, bool]]:
    """Each node on entering and on leaving, without recursion: hostile pages nest a hundred thousand deep."""
    stack = [(root, False)]
    while stack:
        node, leaving = stack.pop()
        if leaving:
            yield node, True
        elif not _is_dropped(node):
            yield node, False
            stack.append((node, True))
            stack.extend((child, False) for child in reversed(list(node.iter(include_text=True))))


def _is_dropped(node: LexborNode) -> bool:
    tag = node.tag or ""
    return tag in _DROPPED or (tag != "-text" and "hidden" in node.attributes)


def _span(node: LexborNode, name: str, most: int) -> int:
    value = (node.attributes.get(name) or "").strip()
    return min(int(value[:6]), most) if value.isdecimal() else 1


class _Writer:
    """Collects inline text and hands it on at every border of a block."""

    def __init__(self, builder: TextBuilder) -> None:
        self.builder = builder
        self.inline: list[str] = []
        self.cells: list[str] | None = None  # Of the table row that is open.
        self.rows: Rows | None = None  # Of the table whose last row was the last that was written.
        # First column of a cell that spans rows → how many columns, and how many rows from the open one on.
        self.spans: dict[int, tuple[int, int]] = {}
        self.column = 0  # Where the next cell of the open row goes.
        self.is_header = False  # The open row has names of columns or rows and nothing else.
        self.in_item = False
        self.after_item = False
        self.pre_depth = 0

    def write(self, root: LexborNode) -> None:
        for node, leaving in _walk(root):
            tag = node.tag or ""
            if leaving:
                self._leave(tag)
            elif tag == "-text":
                self._text(node.text_content or "")
            else:
                self._enter(tag, node)
        self._flush()
        self._end_rows()

    def _text(self, text: str) -> None:
        self.inline.append(text if self.pre_depth else _SPACE.sub(" ", text))

    def _enter(self, tag: str, node: LexborNode) -> None:
        if tag == "br":
            self.inline.append("\n")
        elif tag == "img":
            self._text(f" {node.attributes.get('alt') or ''} ")
        elif tag == "table":
            self._end_row()  # A table within a cell: the outer one was for layout.
            self._end_rows()
            self.spans.clear()
        elif tag == "tr":
            self._flush()
            self.cells = []
            self.column = 0
            self.is_header = True
        elif tag in _CELLS and self.cells is not None:
            self._place_cell(self.cells, node)
        elif tag in _BLOCKS:
            self._flush()
        if tag in _GROUPS_OF_ROWS:
            self.spans.clear()
        if tag == "li":
            self.in_item = True
        self.pre_depth += tag == "pre"

    def _place_cell(self, cells: list[str], node: LexborNode) -> None:
        """Put an empty cell where a cell from above reaches down, so that this one stays in its column."""
        self._flush()
        while (above := self.spans.get(self.column)) is not None:
            cells.append("")
            self.column += above[0]
        columns = _span(node, "colspan", _MAX_COLSPAN) or 1
        rows = _span(node, "rowspan", _MAX_ROWSPAN) or _MAX_ROWSPAN  # 0 is all that follow in its group.
        if rows > 1 and self.column < _MAX_COLUMNS:
            self.spans[self.column] = (columns, rows)
        self.column += columns

    def _leave(self, tag: str) -> None:
        if tag in _HEADINGS and self.cells is None:
            self._end_heading(_HEADINGS[tag])
        elif tag in _CELLS and self.cells is not None:
            self.cells.append(self._take())
            self.is_header &= tag == "th"
        elif tag == "tr":
            self._end_row()
        elif tag in _BLOCKS:
            self._flush()
        if tag in {"ul", "ol", "menu", "dir"}:
            self.in_item = self.after_item = False
        self.pre_depth -= tag == "pre"

    def _take(self) -> str:
        text = "".join(self.inline)
        self.inline.clear()
        return text

    def _flush(self) -> None:
        if self.cells is not None:
            self.inline.append(" ")  # Blocks within a cell do not break its row.
            return
        text = self._take()
        if not text.strip():
            return
        self._end_rows()
        if self.pre_depth:
            self.builder.verbatim(text)
        else:
            self._paragraph("\n".join(line.strip() for line in text.split("\n")))

    def _paragraph(self, text: str) -> None:
        text = _SPACES.sub(" ", text.strip())
        if not self.in_item:
            self.after_item = False
            self.builder.paragraph(text)
            return
        append = self.builder.line if self.after_item else self.builder.paragraph
        append(f"- {text}")
        self.in_item, self.after_item = False, True

    def _end_heading(self, level: int) -> None:
        self._end_rows()
        self.after_item = self.in_item = False
        self.builder.heading(self._take(), level)

    def _end_row(self) -> None:
        if self.cells is None:
            self._flush()
            return
        if self.rows is None:
            self.rows = Rows(self.builder)
        self.rows.add([*self.cells, self._take()], is_header=self.is_header)
        self.cells = None
        self.spans = {
            column: (columns, rows - 1) for column, (columns, rows) in self.spans.items() if rows > 1
        }
        self.after_item = False

    def _end_rows(self) -> None:
        if self.rows is not None:
            self.rows.end()
            self.rows = None
