"""OpenDocument text: headings with their levels, lists, tables, notes where they stand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from app.errors import CorruptFile, EncryptedFile
from app.parsing.archive import Element, open_archive, read_member, read_xml
from app.parsing.tables import append_table
from app.parsing.text_builder import TextBuilder

_NAMESPACE = "urn:oasis:names:tc:opendocument:xmlns"
_OFFICE, _TEXT, _TABLE = (f"{{{_NAMESPACE}:{name}:1.0}}" for name in ("office", "text", "table"))
_DC_TITLE = "{http://purl.org/dc/elements/1.1/}title"
_HEADING, _PARAGRAPH, _ITEM = _TEXT + "h", _TEXT + "p", _TEXT + "list-item"
_DROPPED = frozenset(
    {_TEXT + "tracked-changes", _TEXT + "sequence-decls", _TEXT + "note-citation", _OFFICE + "annotation"}
)
_BLOCKS = frozenset({_HEADING, _PARAGRAPH, _TABLE + "table", _TEXT + "list"})
_MAX_SPACES = 100  # `text:s` names a number of blanks: a bomb of one element otherwise.


def parse(file: BinaryIO, builder: TextBuilder) -> None:
    with open_archive(file) as archive:
        if b"encryption-data" in (read_member(archive, "META-INF/manifest.xml") or b""):
            raise EncryptedFile
        content = read_xml(archive, "content.xml")
        body = None if content is None else content.find(f"{_OFFICE}body/{_OFFICE}text")
        if body is None:
            raise CorruptFile("The OpenDocument file is damaged: it has no text part.")
        meta = read_xml(archive, "meta.xml")
        if meta is not None:
            builder.set_title(next((title.text for title in meta.iter(_DC_TITLE)), None))
        _append_blocks(body, builder)


def _append_blocks(container: Element, builder: TextBuilder) -> None:
    for child in container:
        if child.tag == _HEADING:
            level = child.get(_TEXT + "outline-level", "1")
            builder.heading("".join(_inline(child)), int(level) if level.isdecimal() else 1)
        elif child.tag == _PARAGRAPH:
            builder.paragraph("".join(_inline(child)))
            _append_boxes(child, builder)
        elif child.tag == _TABLE + "table":
            append_table(builder, _rows(child))
        elif child.tag == _TEXT + "list":
            builder.paragraph("\n".join(_items(child)))
        elif child.tag not in _DROPPED:
            _append_blocks(child, builder)


def _append_boxes(paragraph: Element, builder: TextBuilder) -> None:
    """Text boxes are anchored within a paragraph, and read after it."""
    for child in paragraph:
        if child.tag in _BLOCKS:
            _append_blocks([child], builder)
        elif child.tag not in _DROPPED and child.tag != _TEXT + "note":
            _append_boxes(child, builder)


def _inline(element: Element) -> Iterator[str]:
    """Text of a paragraph without the blocks that are anchored in it; notes in square brackets."""
    yield element.text or ""
    for child in element:
        if child.tag == _TEXT + "note":
            yield f" [{' '.join(_flat(child))}]"
        elif child.tag == _TEXT + "s":
            count = child.get(_TEXT + "c", "1")
            yield " " * min(int(count) if count.isdecimal() else 1, _MAX_SPACES)
        elif child.tag == _TEXT + "tab":
            yield "\t"
        elif child.tag == _TEXT + "line-break":
            yield "\n"
        elif child.tag not in _DROPPED and child.tag not in _BLOCKS:
            yield from _inline(child)
        yield child.tail or ""


def _flat(element: Element) -> Iterator[str]:
    """The paragraphs within, however deep."""
    for block in element.iter(_PARAGRAPH, _HEADING):
        yield "".join(_inline(block)).strip()


def _items(items: Element) -> Iterator[str]:
    for item in items.iter(_ITEM):
        words = " ".join("".join(_inline(child)) for child in item if child.tag in {_PARAGRAPH, _HEADING})
        if words.strip():
            yield f"- {words.strip()}"


def _rows(table: Element) -> Iterator[list[str]]:
    for row in table.iter(_TABLE + "table-row"):
        yield [" ".join(_flat(cell)) for cell in row if cell.tag == _TABLE + "table-cell"]
