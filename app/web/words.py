"""Values as people read them."""

from __future__ import annotations

import json
from collections.abc import Iterator

from app.parsing import media_types
from app.schemas.document import DocumentResponse
from app.search.hits import Hit

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

UNITS = ("bytes", "KB", "MB", "GB", "TB", "PB")

#: Characters of a hit that are shown, as many as one reads at a glance.
EXCERPT = 420


def size(count: int) -> str:
    """`48213` → `47 KB`, by 1024, as the settings count."""
    amount, unit = float(count), 0
    while amount >= 1023.5 and unit < len(UNITS) - 1:
        amount, unit = amount / 1024, unit + 1
    if unit == 0:
        return "1 byte" if count == 1 else f"{count} bytes"
    return f"{amount:.1f} {UNITS[unit]}" if amount < 9.95 else f"{amount:.0f} {UNITS[unit]}"


def duration(seconds: float) -> str:
    """`0.034` → `34 ms`, `75` → `1 min 15 s`."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} days"


def count(number: int, one: str, many: str | None = None) -> str:
    """`1`, `chunk` → `1 chunk`; `1200` → `1,200 chunks`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def kind(media_type: str) -> str:
    """`application/pdf` → `PDF`."""
    bare = media_type.removeprefix(media_types.SOURCE_PREFIX)
    return KINDS.get(media_type) or bare.rpartition("/")[2]


def name(document: DocumentResponse) -> str:
    """What a document is called, if it is called anything."""
    return document.title or document.source_name or document.external_id or str(document.document_id)


def excerpt(hit: Hit) -> Iterator[tuple[str, bool]]:
    """The part of a hit's text with most of the question's words, as (text, is one of them)."""
    begin = _densest(hit)
    end = min(begin + EXCERPT, len(hit.text))
    if end < len(hit.text):
        end = max(hit.text.rfind(" ", begin, end), begin + EXCERPT // 2)
    reached = begin
    yield ("… " if begin else ""), False
    for span in hit.highlights:
        if begin <= span.start and span.end <= end:
            yield hit.text[reached : span.start], False
            yield hit.text[span.start : span.end], True
            reached = span.end
    yield hit.text[reached:end] + (" …" if end < len(hit.text) else ""), False


def _densest(hit: Hit) -> int:
    """Where an excerpt begins that has as many of the words as any: some words before the first."""
    starts = [span.start for span in hit.highlights]
    if len(hit.text) <= EXCERPT or not starts:
        return 0
    within = EXCERPT * 3 // 4
    best = max(starts, key=lambda first: (sum(0 <= start - first < within for start in starts), -first))
    wished = max(best - EXCERPT // 6, 0)
    return hit.text.find(" ", wished, best) + 1 if wished else 0


def pretty(value: object) -> str:
    """A value of metadata: a text as it is, all else as JSON writes it."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
