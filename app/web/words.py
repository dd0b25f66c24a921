"""Values as people read them."""

from __future__ import annotations

import json

from app.errors import Cancelled
from app.parsing import media_types
from app.schemas.document import DocumentError, DocumentResponse

#: What people call a type; the others are called by their second half.
KINDS = {
    media_types.TEXT: "text",
    media_types.MARKDOWN: "Markdown",
    media_types.HTML: "HTML",
    media_types.CSV: "CSV",
    media_types.TSV: "TSV",
    media_types.XML: "XML",
    media_types.JSON: "JSON",
    media_types.JSON_LINES: "JSON lines",
    media_types.EML: "e-mail",
    media_types.PDF: "PDF",
    media_types.ZIP: "zip",
    media_types.OLE2: "Office 97",
    media_types.DOCX: "DOCX",
    media_types.PPTX: "PPTX",
    media_types.XLSX: "XLSX",
    media_types.XLSB: "XLSB",
    media_types.XLS: "XLS",
    media_types.ODT: "ODT",
    media_types.ODS: "ODS",
    media_types.BINARY: "unknown",
}


def kind(media_type: str) -> str:
    """`application/pdf` → `PDF`."""
    bare = media_type.removeprefix(media_types.SOURCE_PREFIX)
    return KINDS.get(media_type) or bare.rpartition("/")[2]


def name(document: DocumentResponse) -> str:
    """What a document is called, if it is called anything."""
    return document.title or document.source_name or document.external_id or str(document.document_id)


def path(document: DocumentResponse) -> str | None:
    """What tells it from others of its name: external id or file name, if that is not what it is called."""
    other = document.external_id or document.source_name
    return None if other == name(document) else other


def is_lasting(error: DocumentError | None) -> bool:
    """Whether the same document fails in the same way again; what was cancelled does not."""
    return error is not None and not error.retryable and error.code != Cancelled.code


def pretty(value: object) -> str:
    """A value of metadata: a text as it is, all else as JSON writes it."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
