"""Plain text and source code."""

from __future__ import annotations

from typing import BinaryIO

from app.errors import EmptyFile, TextTooLong
from app.parsing.archive import size_of
from app.parsing.encodings import decode
from app.parsing.text_builder import TextBuilder

_MAX_BYTES_PER_CHAR = 4  # Of UTF-8, UTF-16 and UTF-32.


def read_text(file: BinaryIO, builder: TextBuilder, *, overhead: int = 1) -> str:
    """The decoded file, refused before it is read when it is too long in any encoding.

    Args:
        file: Read from where it stands.
        builder: Has the limit of length, and gets a warning where the encoding is uncertain.
        overhead: How many times as long as what it says the file may be.

    Raises:
        TextTooLong: It is certain from the size alone.
        EmptyFile: There is nothing but white space.
    """
    max_text_chars = overhead * builder.max_text_chars
    if size_of(file) > max_text_chars * _MAX_BYTES_PER_CHAR + _MAX_BYTES_PER_CHAR:
        raise TextTooLong(max_text_chars)
    text, warning = decode(file.read())
    if not text or text.isspace():
        raise EmptyFile
    if warning is not None:
        builder.warn(warning)
    return text


def parse_text(file: BinaryIO, builder: TextBuilder) -> None:
    builder.paragraph(read_text(file, builder))


def parse_code(file: BinaryIO, builder: TextBuilder) -> None:
    builder.verbatim(read_text(file, builder))
