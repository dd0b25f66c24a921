"""What pool and parser child say to each other.

Plain JSON and text rather than pickle: a child that a hostile file has taken over may send what it likes, and
must not get more from it than a document of its own choosing.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from app.errors import (
    CorruptFile,
    EmptyFile,
    EncryptedFile,
    NoText,
    OutOfMemory,
    ServiceError,
    TextTooLong,
    UnsupportedMediaType,
)
from app.parsing.parsed_document import Heading, Page, ParsedDocument, Table

# A frame: sizes of header and text in bytes, the header in JSON, the text in UTF-8.
SIZES = struct.Struct(">II")
MAX_HEADER_BYTES = 64 << 20
# To the fork server: what to do, and with which child. FORK carries the child's end of its connection.
COMMAND = struct.Struct(">cI")
FORK, KILL = b"F", b"K"


class Nonsense(ValueError):
    """The other side broke the protocol."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a child may use. `memory_mb` is on top of what the parsers themselves take."""

    timeout_s: float
    memory_mb: int
    max_text_chars: int


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of one file: a document or an error."""

    document: ParsedDocument | None = None
    error: Exception | None = None
    detail: str = ""  # For the log: the traceback behind the error.
    tired: bool = False  # The child has grown and wants to be replaced.


def frame(header: dict[str, Any], text: str = "") -> bytes:
    head, body = json.dumps(header).encode("ascii"), text.encode("utf-8")
    return b"".join((SIZES.pack(len(head), len(body)), head, body))


def check_sizes(sizes: bytes | bytearray, limits: Limits) -> tuple[int, int]:
    """Sizes of header and text of the frame that follows.

    Raises:
        Nonsense: More than a document within the limits can take.
    """
    header_bytes, text_bytes = SIZES.unpack(sizes)
    if header_bytes > MAX_HEADER_BYTES or text_bytes > 4 * limits.max_text_chars:
        raise Nonsense("frame too large")
    return header_bytes, text_bytes


def encode_document(document: ParsedDocument, *, tired: bool = False) -> bytes:
    return frame(
        {
            "media_type": document.media_type,
            "title": document.title,
            "pages": [[page.number, page.char_start, page.char_end] for page in document.pages],
            "headings": [[heading.level, heading.title, heading.char_start] for heading in document.headings],
            "tables": [[table.header, table.char_start, table.char_end] for table in document.tables],
            "warnings": document.warnings,
            "tired": tired,
        },
        document.text,
    )


def encode_error(code: str, data: str, detail: str, *, tired: bool = False) -> bytes:
    return frame({"error": code, "data": data, "detail": detail, "tired": tired})


def decode_reply(header: bytes | bytearray, text: bytes | bytearray, limits: Limits) -> Reply:
    """The reply of a child, checked as far as a document can be checked.

    Raises:
        Nonsense: It is none.
    """
    try:
        fields = json.loads(header)
        tired = fields["tired"] is True
        if "error" in fields:
            error = _revive(str(fields["error"]), str(fields["data"]), limits)
            return Reply(error=error, detail=str(fields["detail"]), tired=tired)
        return Reply(document=_document(fields, text.decode("utf-8")), tired=tired)
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise Nonsense(str(error)) from error


def _document(fields: dict[str, Any], text: str) -> ParsedDocument:
    if "\0" in text:
        raise Nonsense("NUL in text")
    return ParsedDocument(
        text=text,
        media_type=_string(fields["media_type"]),
        title=None if fields["title"] is None else _string(fields["title"]),
        pages=tuple(Page(_int(number), _int(start), _int(end)) for number, start, end in fields["pages"]),
        headings=tuple(
            Heading(_int(level), _string(title), _int(start)) for level, title, start in fields["headings"]
        ),
        tables=tuple(
            Table(_string(header), _int(start), _int(end)) for header, start, end in fields["tables"]
        ),
        warnings=tuple(map(_string, fields["warnings"])),
    )


def _string(value: object) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise Nonsense("not a string")
    value.encode("utf-8")  # A lone surrogate is a ValueError.
    return value


def _int(value: object) -> int:
    if type(value) is not int or value < 0:
        raise Nonsense("not a number")
    return value


# --- Errors by their code, with the data they carry --------------------------------------------------------

_REVIVED: dict[str, Callable[[str, Limits], Exception]] = {
    UnsupportedMediaType.code: lambda media_type, _: UnsupportedMediaType(media_type),
    EmptyFile.code: lambda _data, _limits: EmptyFile(),
    NoText.code: lambda data, _: _no_text(*data.split(" ", 1)),
    EncryptedFile.code: lambda _data, _limits: EncryptedFile(),
    CorruptFile.code: lambda reason, _: CorruptFile(reason),
    TextTooLong.code: lambda _, limits: TextTooLong(limits.max_text_chars),
    OutOfMemory.code: lambda _, limits: OutOfMemory(limits.memory_mb),
    "os_error": lambda reason, _: OSError(reason),
}


def data_of(error: ServiceError) -> str:
    """What is needed to make the same error again on the other side."""
    if isinstance(error, NoText):
        return f"{error.media_type or ''} {error}"
    return error.media_type if isinstance(error, UnsupportedMediaType) else str(error)


def _no_text(media_type: str, reason: str) -> NoText:
    return NoText(reason, media_type=media_type or None)


def _revive(code: str, data: str, limits: Limits) -> Exception:
    return _REVIVED[code](data, limits)
