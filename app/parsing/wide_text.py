"""UTF-16 that has no byte order mark."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

SAMPLE_BYTES = 64 * 1024

#: Controls but for tab, line ends, form feed, backspace, escape (terminals) and the DOS end of file.
CONTROL = re.compile(rb"[\x00-\x07\x0b\x0e-\x19\x1c-\x1f]")
PRINTABLE = re.compile(rb"[ -~\s]")
_LINE_ENDS_AND_TABS = re.compile(rb"[\t\n\f\r]")
_CONTROLS_OF_TEXT = frozenset("\t\n\r\f\b\x1a\x1b")
_NO_CHARACTERS = frozenset({"Cc", "Cn", "Co"})


def wide_encoding(data: bytes) -> str | None:
    """`utf-16-le` or `utf-16-be` if these bytes make sense as that, and none as they are; else None.

    Spaces, digits and line ends have a zero byte, always on the same side. But so may a log with a few stray
    zeros, whose letters would become Chinese two by two: unless most characters have such a zero, the bytes
    must be no text without them, and what they are read as must be characters.
    """
    if b"\0" not in data[:SAMPLE_BYTES]:
        return None
    sample = data[: min(len(data), SAMPLE_BYTES) & ~1]
    units = len(sample) // 2
    zeros = {"utf-16-le": sample[1::2].count(0), "utf-16-be": sample[::2].count(0)}
    if units < 2 or (2 * max(zeros.values()) < units and _is_text_with_zeros(sample)):
        return None
    # The likelier one first; but Chinese has zeros on the other side, too: "one" is U+4E00.
    for encoding in sorted(zeros, key=lambda encoding: -zeros[encoding]):
        if 50 * zeros[encoding] >= units and _has_characters(sample.decode(encoding, "replace")):
            return encoding
    return None


def is_utf8(data: bytes) -> bool:
    """Whether it is, or would be but for a last character that was cut."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(data) - 3 and error.reason == "unexpected end of data"
    return True


def mostly_printable(data: bytes) -> bool:
    """Whether nine tenths are ASCII that can be read, as in Western texts of any encoding."""
    return 10 * len(PRINTABLE.findall(data)) >= 9 * len(data)


def _is_text_with_zeros(sample: bytes) -> bool:
    """UTF-16 of other alphabets is full of controls or tabs, its high bytes; of Chinese, it is no UTF-8."""
    rest = sample.replace(b"\0", b"")
    if 100 * len(CONTROL.findall(rest)) > len(rest) or 4 * len(_LINE_ENDS_AND_TABS.findall(rest)) > len(rest):
        return False
    return is_utf8(rest) or mostly_printable(rest)


def _has_characters(text: str) -> bool:
    """Nearly all are; halves of pairs have become U+FFFD."""
    nothing = sum(
        count
        for character, count in Counter(text).items()
        if character == "\ufffd"
        or (unicodedata.category(character) in _NO_CHARACTERS and character not in _CONTROLS_OF_TEXT)
    )
    # One may be a pair that the end of the sample has cut.
    return 100 * max(nothing - text.endswith("\ufffd"), 0) <= len(text)
