"""What DOCX and PPTX share: a zip of XML parts that point at each other by relationships.

The parts are read directly rather than by python-docx and python-pptx: those load every picture (a docx of
232 KiB took 425 MB), know neither content controls nor text boxes, and refuse templates and files with
macros.
"""

from __future__ import annotations

import posixpath
import zipfile

from app.errors import CorruptFile
from app.parsing.archive import Element, read_xml
from app.parsing.text_builder import TextBuilder

_RELATIONSHIP = "{http://schemas.openxmlformats.org/package/2006/relationships}Relationship"
_DC_TITLE = "{http://purl.org/dc/elements/1.1/}title"
# Fallbacks repeat what is beside them, for older programs.
FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
# Files saved as "Strict Open XML" use other names for the same things.
_STRICT = {
    b"http://purl.oclc.org/ooxml/wordprocessingml/main": b"http://schemas.openxmlformats.org/wordprocessingml/2006/main",
    b"http://purl.oclc.org/ooxml/presentationml/main": b"http://schemas.openxmlformats.org/presentationml/2006/main",
    b"http://purl.oclc.org/ooxml/drawingml/main": b"http://schemas.openxmlformats.org/drawingml/2006/main",
    b"http://purl.oclc.org/ooxml/officeDocument/relationships": (
        b"http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    ),
}


class Package:
    """The parts of one file by name; names have no leading slash."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive

    def part(self, name: str) -> Element | None:
        return read_xml(self.archive, name, renamed=_STRICT)

    def main_part(self) -> tuple[str, Element]:
        """Name and root of the part that holds the document.

        Raises:
            CorruptFile: There is none.
        """
        for kind, target in self.relationships("").values():
            if kind == "officeDocument":
                root = self.part(target)
                if root is not None:
                    return target, root
        raise CorruptFile("The file is damaged: its main part is missing.")

    def relationships(self, part_name: str) -> dict[str, tuple[str, str]]:
        """Relationship id → (kind, name of the part it points at), for what lies within the file."""
        folder, base = posixpath.split(part_name)
        root = self.part(posixpath.join(folder, "_rels", f"{base}.rels"))
        if root is None:
            return {}
        return {
            relationship.get("Id", ""): (
                relationship.get("Type", "").rpartition("/")[2],
                posixpath.normpath(posixpath.join("/", folder, relationship.get("Target", ""))).lstrip("/"),
            )
            for relationship in root.iter(_RELATIONSHIP)
            if relationship.get("TargetMode") != "External"
        }

    def related(self, part_name: str, kind: str) -> Element | None:
        """Root of the first part of that kind, or None."""
        for found, target in self.relationships(part_name).values():
            if found == kind:
                return self.part(target)
        return None

    def take_title(self, builder: TextBuilder) -> None:
        properties = self.related("", "core-properties")
        if properties is not None:
            builder.set_title(properties.findtext(_DC_TITLE))
