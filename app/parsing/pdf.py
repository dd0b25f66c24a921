"""PDF, by PDFium: text page by page, outline, form fields, notes."""

from __future__ import annotations

import ctypes
import mmap
import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, BinaryIO

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from app.errors import CorruptFile, EncryptedFile, NoText, TextTooLong
from app.parsing import media_types as types
from app.parsing.archive import size_of
from app.parsing.text_builder import MAX_HEADINGS, TextBuilder, clean, one_line

_PASSWORD_ERRORS = (pdfium_c.FPDF_ERR_PASSWORD, pdfium_c.FPDF_ERR_SECURITY)
_MAX_ANNOTATIONS_PER_PAGE = 2_000
_MAX_FIELD_BYTES = 1 << 20
_LIGATURES = str.maketrans({"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st"})
_HAS_LIGATURE = re.compile("[ﬀ-ﬆ]")
# PDFium writes U+0002 in place of a hyphen at the end of a line, and leaves out the line end.
_MENDED_HYPHEN = re.compile(r"\x02(?:\r?\n)?")
_USELESS_TITLE = re.compile(
    r"(?:untitled|microsoft word - .*|.*\.(?:docx?|indd|tex|dvi|qxd))$", re.IGNORECASE
)
_SENTENCE_ENDS = (".", "!", "?", ":", ".”", ".“", ".)", "。")


def parse(file: BinaryIO, builder: TextBuilder) -> None:
    document = _open(file)
    try:
        document.init_forms()
        _read_pages(document, builder)
        _note_attachments(document, builder)
        title = document.get_metadata_value("Title")
        if not _USELESS_TITLE.match(title):
            builder.set_title(title)
    finally:
        document.close()


def _open(file: BinaryIO) -> Any:
    # Mapped, so that only the pages that are looked at take memory; private, as PDFium asks for a buffer that
    # can be written to.
    mapped = mmap.mmap(file.fileno(), size_of(file), access=mmap.ACCESS_COPY)
    try:
        return pdfium.PdfDocument((ctypes.c_char * len(mapped)).from_buffer(mapped))
    except pdfium.PdfiumError as error:
        if error.err_code in _PASSWORD_ERRORS:
            raise EncryptedFile from error
        raise CorruptFile("The PDF is damaged or incomplete: its structure cannot be read.") from error


def _read_pages(document: Any, builder: TextBuilder) -> None:
    outline = _outline(document)
    unreadable: list[int] = []
    blank: list[int] = []
    for number in range(1, len(document) + 1):
        builder.page(number)
        before = builder.length
        try:
            page = document[number - 1]
        except pdfium.PdfiumError:
            unreadable.append(number)
            continue
        _read_page(page, document.formenv, builder, outline.get(number, []))
        page.close()
        if builder.length == before:
            blank.append(number)
    _judge(len(document), unreadable, blank, builder)


def _judge(pages: int, unreadable: list[int], blank: list[int], builder: TextBuilder) -> None:
    if not pages or len(unreadable) == pages:
        raise CorruptFile("The PDF is damaged: none of its pages can be read.")
    if not builder.length:
        reason = f"None of the PDF's {pages} pages has text." if pages > 1 else "The PDF's page has no text."
        raise NoText(reason, media_type=types.PDF)
    if unreadable:
        builder.warn(f"Damaged and left out: {_spans(unreadable)}.")
    if blank:
        builder.warn(f"No text found on {_spans(blank)}; a scan or a picture, perhaps.")


def _spans(numbers: list[int]) -> str:
    """`page 3`, `pages 3, 5-7`."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    words = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans[:20])
    return f"{'page' if len(numbers) == 1 else 'pages'} {words}{', …' if len(spans) > 20 else ''}"


def _read_page(page: Any, forms: Any, builder: TextBuilder, titles: list[tuple[str, int]]) -> None:
    text_page = page.get_textpage()
    if text_page.count_chars() > 2 * builder.max_text_chars:  # Refused before it is copied.
        raise TextTooLong(builder.max_text_chars)
    text = _reflow(clean(_MENDED_HYPHEN.sub("", text_page.get_text_bounded())))
    text_page.close()
    if _HAS_LIGATURE.search(text):
        text = text.translate(_LIGATURES)
    start = builder.paragraph(text)
    if start is not None:
        _mark_titles(text.lstrip("\n"), start, titles, builder)
    for line in _annotations(page, forms):
        builder.paragraph(line)


def _reflow(text: str) -> str:
    """An empty line after each line that ends a sentence well before the margin: PDF knows no paragraphs."""
    lines = text.split("\n")
    margin = 0.8 * sorted(map(len, lines))[len(lines) * 3 // 4]
    return "\n".join(
        line + "\n" if line.endswith(_SENTENCE_ENDS) and len(line) < margin else line for line in lines
    )


def _outline(document: Any) -> dict[int, list[tuple[str, int]]]:
    """Page number → titles with their levels, in the order of the outline."""
    titles: dict[int, list[tuple[str, int]]] = {}
    try:
        for bookmark in islice(document.get_toc(), MAX_HEADINGS):
            target = bookmark.get_dest()
            index = target.get_index() if target else None
            title = one_line(bookmark.get_title())
            if index is not None and title:
                titles.setdefault(index + 1, []).append((title, bookmark.level + 1))
    except (pdfium.PdfiumError, UnicodeError):
        pass  # A broken outline costs the headings, not the document.
    return titles


def _mark_titles(text: str, start: int, titles: list[tuple[str, int]], builder: TextBuilder) -> None:
    """Find each title on its page, each after the one before it; one that is not there is left out."""
    position = 0
    for title, level in titles:
        pattern = re.compile(r"\s+".join(map(re.escape, title.split())), re.IGNORECASE)
        match = pattern.search(text, position) or pattern.search(text)
        if match is not None:
            builder.mark_heading(title, level, start + match.start())
            position = match.end()


def _annotations(page: Any, forms: Any) -> Iterator[str]:
    """`name: value` of the form fields that are filled in, and the words of notes."""
    count = pdfium_c.FPDFPage_GetAnnotCount(page)
    for index in range(min(count, _MAX_ANNOTATIONS_PER_PAGE)):
        annotation = pdfium_c.FPDFPage_GetAnnot(page, index)
        if not annotation:
            continue
        if pdfium_c.FPDFAnnot_GetSubtype(annotation) != pdfium_c.FPDF_ANNOT_WIDGET:
            yield _wide_string(
                lambda *to, note=annotation: pdfium_c.FPDFAnnot_GetStringValue(note, b"Contents", *to)
            )
        elif forms:
            yield _field(annotation, forms)
        pdfium_c.FPDFPage_CloseAnnot(annotation)


def _field(annotation: Any, forms: Any) -> str:
    value = _wide_string(lambda *to: pdfium_c.FPDFAnnot_GetFormFieldValue(forms, annotation, *to))
    if not value.strip() or value == "Off":  # An empty field, a box that is not ticked.
        return ""
    name = _wide_string(lambda *to: pdfium_c.FPDFAnnot_GetFormFieldName(forms, annotation, *to))
    return f"{name}: {value}" if name else value


def _wide_string(call: Callable[[Any, int], int]) -> str:
    """PDFium's way to hand out strings: ask for the size in bytes, then for UTF-16 with a zero at its end."""
    size = call(None, 0)
    if not 2 < size <= _MAX_FIELD_BYTES:
        return ""
    buffer = ctypes.create_string_buffer(size)
    call(ctypes.cast(buffer, ctypes.POINTER(ctypes.c_ushort)), size)
    return buffer.raw[: size - 2].decode("utf-16-le", "replace")


def _note_attachments(document: Any, builder: TextBuilder) -> None:
    count = document.count_attachments()
    if count > 0:
        files = "file was" if count == 1 else "files were"
        builder.warn(f"{count} attached {files} not read.")
