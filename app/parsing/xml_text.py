"""XML of any kind: the text of its elements, one paragraph each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from lxml import etree  # type: ignore[import-untyped]

from app.errors import CorruptFile
from app.parsing.archive import Element, parse_xml
from app.parsing.text_builder import TextBuilder


def parse(file: BinaryIO, builder: TextBuilder) -> None:
    root = _read(file.read(), builder)
    for block in _blocks(root):
        text = " ".join("".join(_pieces(block)).split())
        if etree.QName(block).localname.lower() == "title":
            builder.set_title(text)
        builder.paragraph(text)


def _read(data: bytes, builder: TextBuilder) -> Element:
    try:
        return parse_xml(data)
    except etree.XMLSyntaxError as error:
        root = parse_xml(data, recover=True)
        if root is None:
            raise CorruptFile("The XML is damaged and cannot be read.") from error
        builder.warn(f"The XML is not well-formed (line {error.lineno}); it was read as far as possible.")
        return root


def _blocks(element: Element) -> Iterator[Element]:
    """Elements that hold text themselves: their children are parts of a sentence. Depth is at most 256."""
    own_text = [element.text, *(child.tail for child in element)]
    if any(text and not text.isspace() for text in own_text):
        yield element
        return
    for child in element:
        if isinstance(child.tag, str):
            yield from _blocks(child)


def _pieces(element: Element) -> Iterator[str]:
    """Text and tails; entities that were not expanded are left out."""
    yield element.text or ""
    for child in element:
        if isinstance(child.tag, str):
            yield from _pieces(child)
        yield child.tail or ""
