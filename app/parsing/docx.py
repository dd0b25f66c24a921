"""Word: body, tables, text boxes and notes in reading order; headers and footers are left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from app.errors import CorruptFile
from app.parsing.archive import Element, open_archive
from app.parsing.ooxml import FALLBACK, Package
from app.parsing.tables import append_table
from app.parsing.text_builder import TextBuilder, one_line

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_PARAGRAPH, _TABLE, _ROW, _CELL = _W + "p", _W + "tbl", _W + "tr", _W + "tc"
_TEXT, _TEXT_BOX = _W + "t", _W + "txbxContent"
_BREAKS = {_W + "br": "\n", _W + "cr": "\n", _W + "tab": "\t", _W + "noBreakHyphen": "-"}
# Deleted or moved away under "track changes", instructions of fields, properties, copies for older programs.
_DROPPED = frozenset({_W + "del", _W + "moveFrom", _W + "instrText", _W + "pPr", _W + "rPr", FALLBACK})
_SEPARATOR_NOTES = frozenset({"separator", "continuationSeparator", "continuationNotice"})
_TITLE_LEVEL = 0  # A heading as those of level 1 are, that names the whole document.
_BODY_TEXT_LEVEL = 9  # "outlineLvl" counts from 0, and 9 stands for no heading.


def parse(file: BinaryIO, builder: TextBuilder) -> None:
    with open_archive(file) as archive:
        package = Package(archive)
        name, document = package.main_part()
        body = document.find(_W + "body")
        if body is None:
            raise CorruptFile("The Word file is damaged: it has no body.")
        package.take_title(builder)
        _Writer(builder, _heading_levels(package.related(name, "styles"))).blocks(body)
        for kind, tag in (("footnotes", "footnote"), ("endnotes", "endnote")):
            _append_notes(package.related(name, kind), tag, builder)


def _heading_levels(styles: Element | None) -> dict[str, int]:
    """Style id → level, of "heading 1" to "heading 9", of "Title" (0), and of styles based on them."""
    if styles is None:
        return {}
    by_id = {style.get(_W + "styleId", ""): style for style in styles.iter(_W + "style")}
    return {style_id: level for style_id in by_id if (level := _level_of_style(style_id, by_id)) is not None}


def _level_of_style(style_id: str, by_id: dict[str, Element]) -> int | None:
    for _ in range(10):  # Styles may be based on each other in a circle.
        style = by_id.get(style_id)
        if style is None:
            return None
        name = _value(style.find(_W + "name")).lower()
        if name == "title":
            return _TITLE_LEVEL
        if name.startswith("heading ") and name[8:].isdecimal():
            return int(name[8:])
        level = _outline_level(style.find(_W + "pPr"))
        if level is not None:
            return level
        style_id = _value(style.find(_W + "basedOn"))
    return None


def _outline_level(properties: Element | None) -> int | None:
    value = _value(properties.find(_W + "outlineLvl")) if properties is not None else ""
    return int(value) + 1 if value.isdecimal() and int(value) < _BODY_TEXT_LEVEL else None


def _value(element: Element | None) -> str:
    return "" if element is None else element.get(_W + "val", "")


def _append_notes(notes: Element | None, tag: str, builder: TextBuilder) -> None:
    if notes is None:
        return
    for note in notes.iter(_W + tag):
        if note.get(_W + "type") not in _SEPARATOR_NOTES:
            builder.paragraph(one_line("".join(_inline(note))))


class _Writer:
    def __init__(self, builder: TextBuilder, levels: dict[str, int]) -> None:
        self.builder = builder
        self.levels = levels

    def blocks(self, container: Element) -> None:
        """Paragraphs and tables of a body, and those within content controls and tracked insertions."""
        for child in container:
            if child.tag == _PARAGRAPH:
                self._paragraph(child)
            elif child.tag == _TABLE:
                append_table(self.builder, _rows(child))
            elif child.tag not in _DROPPED:
                self.blocks(child)

    def _paragraph(self, paragraph: Element) -> None:
        text = "".join(_inline(paragraph))
        level = self._level(paragraph.find(_W + "pPr"))
        if level is None:
            self.builder.paragraph(text)
        else:
            if level == _TITLE_LEVEL:
                self.builder.set_title(text)
            self.builder.heading(text, level)
        for box in _text_boxes(paragraph):
            self.blocks(box)

    def _level(self, properties: Element | None) -> int | None:
        if properties is None:
            return None
        level = _outline_level(properties)
        return level if level is not None else self.levels.get(_value(properties.find(_W + "pStyle")))


def _inline(element: Element) -> Iterator[str]:
    """Text of runs, hyperlinks, insertions; paragraphs within (of a cell, a note) end in a blank."""
    for child in element:
        if child.tag == _TEXT:
            yield child.text or ""
        elif child.tag in _BREAKS:
            yield _BREAKS[child.tag]
        elif child.tag not in _DROPPED and child.tag != _TEXT_BOX:
            yield from _inline(child)
            if child.tag == _PARAGRAPH:
                yield " "


def _rows(table: Element) -> Iterator[list[str]]:
    """Rows of cells; a table within a cell is read as the text of that cell."""
    for row in _within(table, _ROW):
        yield ["".join(_inline(cell)) for cell in _within(row, _CELL)]


def _within(element: Element, tag: str) -> Iterator[Element]:
    """Children with the tag, also through content controls, but not through one another."""
    for child in element:
        if child.tag == tag:
            yield child
        elif child.tag not in _DROPPED:
            yield from _within(child, tag)


def _text_boxes(paragraph: Element) -> Iterator[Element]:
    for box in paragraph.iter(_TEXT_BOX):
        if not any(parent.tag in {FALLBACK, _TEXT_BOX} for parent in box.iterancestors()):
            yield box
