"""Plain text that is read right here: handing it to a child takes longer than reading it."""

from __future__ import annotations

import io

from app.errors import UnsupportedMediaType
from app.parsing import media_types as types
from app.parsing.detection import HEAD_BYTES, detect
from app.parsing.parsed_document import ParsedDocument
from app.parsing.registry import note_misnamed
from app.parsing.text_builder import TextBuilder

#: Up to here; it is read on the event loop.
SMALL_BYTES = 16 * 1024

#: Signs of an encoding that has to be found out: those of UTF-16 and UTF-32, and the escapes of ISO 2022.
_OTHER_ENCODING = (b"\x00", b"\x1b", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


def parse_small_text(content: bytes, name: str | None, *, max_text_chars: int) -> ParsedDocument | None:
    """What a parser child would answer; None where there is anything to find out, or that could go wrong.

    No library in C sees the content but Python's own, and nothing here takes more than linear time.

    Raises:
        TextTooLong: It has more than `max_text_chars` characters.
    """
    if len(content) > SMALL_BYTES or any(sign in content for sign in _OTHER_ENCODING):
        return None
    try:
        if detect(content[:HEAD_BYTES], name) != types.TEXT:
            return None
        text = content.decode("utf-8")
    except (UnsupportedMediaType, UnicodeDecodeError):
        return None
    builder = TextBuilder(max_text_chars)
    note_misnamed(builder, types.TEXT, name, io.BytesIO(content))
    return None if builder.paragraph(text) is None else builder.build(types.TEXT)
