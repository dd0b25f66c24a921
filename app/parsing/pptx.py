"""PowerPoint: a slide is a page, its title a heading; tables, diagrams and the speaker's notes follow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from app.parsing.archive import Element, open_archive
from app.parsing.ooxml import FALLBACK, Package
from app.parsing.tables import append_table
from app.parsing.text_builder import TextBuilder

_P = "{http://schemas.openxmlformats.org/presentationml/2006/main}"
_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_RELATIONSHIP_ID = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_SHAPE, _TABLE, _PARAGRAPH = _P + "sp", _A + "tbl", _A + "p"
_TITLES = frozenset({"title", "ctrTitle"})
# Repeated on each slide, and no part of what it says.
_FURNITURE = frozenset({"dt", "ftr", "hdr", "sldNum", "sldImg"})


def parse(file: BinaryIO, builder: TextBuilder) -> None:
    with open_archive(file) as archive:
        package = Package(archive)
        package.take_title(builder)
        for number, name in enumerate(_slide_names(package), start=1):
            slide = package.part(name)
            builder.page(number)
            if slide is None:
                builder.warn(f"Slide {number} is missing from the file.")
                continue
            _append_slide(slide, builder)
            _append_diagrams(package, name, builder)
            _append_notes(package.related(name, "notesSlide"), builder)
        builder.first_heading_is_title()


def _slide_names(package: Package) -> list[str]:
    """In the order of the show, hidden slides included."""
    name, presentation = package.main_part()
    relationships = package.relationships(name)
    ids = [slide.get(_RELATIONSHIP_ID, "") for slide in presentation.iter(_P + "sldId")]
    return [relationships[slide_id][1] for slide_id in ids if slide_id in relationships]


def _append_slide(slide: Element, builder: TextBuilder) -> None:
    blocks = list(_blocks(slide))
    for block in blocks:
        if _placeholder(block) in _TITLES:
            builder.heading(" ".join(_paragraphs(block)), 1)
    for block in blocks:
        if block.tag == _TABLE:
            append_table(builder, _rows(block))
        elif _placeholder(block) not in _TITLES | _FURNITURE:
            builder.paragraph("\n".join(_paragraphs(block)))


def _rows(table: Element) -> Iterator[list[str]]:
    for row in table.iter(_A + "tr"):
        yield [" ".join(_paragraphs(cell)) for cell in row.iter(_A + "tc")]


def _blocks(element: Element) -> Iterator[Element]:
    """Shapes and tables, also those in groups, in the order in which the slide lists them."""
    for child in element:
        if child.tag in {_SHAPE, _TABLE}:
            yield child
        elif child.tag != FALLBACK:
            yield from _blocks(child)


def _placeholder(shape: Element) -> str | None:
    found = shape.find(f"{_P}nvSpPr/{_P}nvPr/{_P}ph")
    return None if found is None else found.get("type", "obj")


def _paragraphs(element: Element) -> Iterator[str]:
    for paragraph in element.iter(_PARAGRAPH):
        text = "".join(
            " " if node.tag == _A + "br" else node.text or "" for node in paragraph.iter(_A + "t", _A + "br")
        )
        if text.strip():
            yield text


def _append_diagrams(package: Package, slide_name: str, builder: TextBuilder) -> None:
    for kind, target in package.relationships(slide_name).values():
        if kind == "diagramData" and (diagram := package.part(target)) is not None:
            builder.paragraph("\n".join(_paragraphs(diagram)))


def _append_notes(notes: Element | None, builder: TextBuilder) -> None:
    if notes is None:
        return
    for shape in _blocks(notes):
        if _placeholder(shape) not in _FURNITURE:
            builder.paragraph("\n".join(_paragraphs(shape)))
