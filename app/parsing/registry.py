"""Media type → parser, and the edge where every foreign exception becomes one of ours."""

from __future__ import annotations

import contextlib
import email
import encodings
import importlib
import pkgutil
from collections.abc import Callable
from typing import BinaryIO, cast

from app.errors import CorruptFile, EmptyFile, ServiceError, UnsupportedMediaType
from app.parsing import media_types as types
from app.parsing.detection import detect_file, fault_of_json
from app.parsing.parsed_document import ParsedDocument
from app.parsing.text_builder import TextBuilder

Parser = Callable[[BinaryIO, TextBuilder], None]

# By name, so that the libraries behind a parser are loaded on its first use, or all at once by `preload`.
_PARSERS: dict[str, tuple[str, str]] = {
    types.TEXT: ("text", "parse_text"),
    types.MARKDOWN: ("markdown", "parse"),
    types.HTML: ("html", "parse"),
    types.CSV: ("spreadsheets", "parse_csv"),
    types.TSV: ("spreadsheets", "parse_csv"),
    types.XML: ("xml_text", "parse"),
    types.JSON: ("json_text", "parse_json"),
    types.JSON_LINES: ("json_text", "parse_json_lines"),
    types.EML: ("mail", "parse"),
    types.PDF: ("pdf", "parse"),
    types.DOCX: ("docx", "parse"),
    types.PPTX: ("pptx", "parse"),
    types.XLSX: ("spreadsheets", "parse_workbook"),
    types.XLSB: ("spreadsheets", "parse_workbook"),
    types.XLS: ("spreadsheets", "parse_workbook"),
    types.ODS: ("spreadsheets", "parse_workbook"),
    types.ODT: ("odt", "parse"),
}
_LABELS = {
    types.HTML: "HTML page",
    types.XML: "XML file",
    types.JSON: "JSON file",
    types.EML: "mail",
    types.PDF: "PDF",
    types.DOCX: "Word file",
    types.PPTX: "PowerPoint file",
    types.XLSX: "Excel file",
    types.XLSB: "Excel file",
    types.XLS: "Excel file",
    types.ODS: "OpenDocument file",
    types.ODT: "OpenDocument file",
}
# What the standard library imports within functions, beside all encodings and all of `email`.
_LOADED_LATE = ("_strptime", "heapq", "linecache", "stringprep", "tokenize", "unicodedata")
# Libraries in C tell of failed allocations in words only.
_MEMORY_WORDS = ("memory allocation", "out of memory", "cannot allocate memory")


def parse(
    file: BinaryIO, *, name: str | None, max_text_chars: int, hint: str | None = None
) -> ParsedDocument:
    """Read a file whose kind is told by its content first, its name second, the client's hint third.

    Args:
        file: Open, seekable, and with a file descriptor: where this runs, no file can be opened by its path.
        name: What it was called where it came from.
        max_text_chars: Longest text that is put together.
        hint: A media type; counts only for text that says nothing itself.

    Raises:
        PermanentError: UnsupportedMediaType, EmptyFile, NoText, EncryptedFile, CorruptFile or TextTooLong.
        MemoryError: A limit of this process was met.
        OSError: The file cannot be read.
    """
    if not file.read(1):
        raise EmptyFile
    # From here on an OSError is a library's way to say that it cannot read this.
    builder = TextBuilder(max_text_chars)
    media_type = types.BINARY
    try:
        file.seek(0)
        media_type = detect_file(file, name, hint=hint)
        file.seek(0)
        parser_for(media_type)(file, builder)
    except (ServiceError, MemoryError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # Panics of libraries in Rust are no `Exception`.
        raise _translated(error, media_type) from error
    note_misnamed(builder, media_type, name, file)
    return builder.build(media_type)


def note_misnamed(builder: TextBuilder, media_type: str, name: str | None, file: BinaryIO) -> None:
    """Warn of what its name says to be more than the plain text that it is."""
    promised = types.by_name(name)
    if media_type != types.TEXT or promised not in _LABELS:
        return
    warning = f"It is named like a {label(promised)}, and was read as the plain text that it is"
    if promised == types.JSON:
        file.seek(0)
        fault = fault_of_json(file.read())
        warning += f" ({fault})" if fault is not None else ""
    builder.warn(f"{warning}.")


def _translated(error: BaseException, media_type: str) -> Exception:
    if any(words in str(error).lower() for words in _MEMORY_WORDS):
        return MemoryError()
    if isinstance(error, RecursionError):
        return CorruptFile(f"The {label(media_type)} is nested too deeply.")
    return CorruptFile(f"The {label(media_type)} is damaged or incomplete and cannot be read.")


def parser_for(media_type: str) -> Parser:
    """The parser for a media type; all source code shares one.

    Raises:
        UnsupportedMediaType: There is none.
    """
    fallback = ("text", "parse_code") if media_type.startswith(types.SOURCE_PREFIX) else None
    found = _PARSERS.get(media_type, fallback)
    if found is None:
        raise UnsupportedMediaType(media_type)
    module, function = found
    return cast(Parser, getattr(importlib.import_module(f"app.parsing.{module}"), function))


def label(media_type: str) -> str:
    """What people call such a file."""
    return _LABELS.get(media_type, "file")


def preload() -> None:
    """Load every parser with its libraries, so that children need open no file for it."""
    for media_type in _PARSERS:
        parser_for(media_type)
    for name in _LOADED_LATE:
        importlib.import_module(name)
    for package in (encodings, email):
        for module in pkgutil.iter_modules(package.__path__):
            with contextlib.suppress(ImportError):  # Two encodings are for Windows only.
                importlib.import_module(f"{package.__name__}.{module.name}")
