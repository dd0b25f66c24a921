"""Bytes of unknown encoding to text."""

from __future__ import annotations

import codecs
import re
from itertools import pairwise
from typing import NamedTuple

from charset_normalizer import from_bytes

from app.parsing.wide_text import wide_encoding

_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # Before UTF-16, whose mark is its beginning.
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SAMPLE_BYTES = 64 * 1024
# Left alone, charset-normalizer takes short texts for rare encodings (mac_iceland, shift_jis_2004,
# utf_16_be).
_CANDIDATES = [
    "cp1252", "cp932", "euc_jp", "koi8_r", "koi8_u", "cp1251", "gb18030", "big5", "cp949", "cp1250", "cp1253",
    "cp1255", "cp1256", "cp1254", "cp1257", "iso8859_2", "iso8859_5", "iso8859_7", "cp866", "cp437", "cp850",
]  # fmt: skip
_WESTERN = frozenset(
    (
        "àáâãäåæçèéêëìíîïñòóôõöøùúûüÿœßÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜŒŸ‘’‚“”„–—…€«»‹›°§·¿¡´©®™£ºª²½•\u00a0\u00ad"
    ).encode("cp1252")
)
_BLOCK_BYTES = 1024 * 1024
_HIGH = re.compile(rb"[\x80-\xff]")
# What "surrogateescape" makes of bytes that are no UTF-8: of a character that was cut to its first bytes, of
# any, and of those with ASCII on both sides.
_CUT = re.compile("[\udce0-\udcf4][\udc80-\udcbf]{1,2}")
_STRAYS = {0xDC00 + byte: bytes([byte]).decode("cp1252", "replace") for byte in range(0x80, 0x100)}
_LONE_STRAY = re.compile("(?<![^\0-\x7f])[\udc80-\udcff](?![^\0-\x7f])")
_ISO_2022_JP_ESCAPES = (b"\x1b$B", b"\x1b$@", b"\x1b(J")


class Decoded(NamedTuple):
    text: str
    warning: str | None = None  # Of what was guessed, for people.


def decode(data: bytes, declared: str | None = None) -> Decoded:
    """Text of the bytes: by byte order mark, by the declared encoding if that fits, else by looking at them.

    Strays within UTF-8 are read as windows-1252, or as U+FFFD where that has no character. There is a warning
    of them, and of an encoding that had to be guessed.
    """
    if data.startswith(codecs.BOM_UTF8):
        return _utf8_but_for_strays(data[len(codecs.BOM_UTF8) :])
    text = _by_signs(data, declared)
    if text is None:
        text = _try(data, "utf-8")
    if text is not None:
        return Decoded(text)
    return _utf8_but_for_strays(data) if _is_mostly_utf8(data) else _decode_legacy(data)


def _by_signs(data: bytes, declared: str | None) -> str | None:
    """Text in an encoding that something tells: a mark, a declaration, zeros, escapes."""
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    text = _try(data, declared) if declared else None
    if text is None and (wide := wide_encoding(data)) is not None:
        return data.decode(wide, "replace")
    if text is None and any(escape in data for escape in _ISO_2022_JP_ESCAPES):
        return _try(data, "iso2022_jp_2")
    return text


def _try(data: bytes, encoding: str) -> str | None:
    try:
        return codecs.decode(data, _python_name(encoding))
    except (LookupError, ValueError, TypeError):  # Unknown, wrong, or not an encoding of text at all ("hex").
        return None


def _python_name(encoding: str) -> str:
    """What people declare is often a smaller encoding than the one they used (as in WHATWG's table)."""
    name = codecs.lookup(encoding).name
    if not codecs.lookup(encoding)._is_text_encoding:
        raise LookupError(encoding)
    return {
        "iso8859-1": "cp1252",
        "ascii": "utf-8",
        "shift_jis": "cp932",
        "gb2312": "gb18030",
        "gbk": "gb18030",
    }.get(name, name)


def _is_mostly_utf8(data: bytes) -> bool:
    """Whether it is UTF-8 with some broken bytes: a log of several programs, a line out of another file.

    Text in an old encoding has next to no characters of UTF-8 in it where one byte is a letter, and up to one
    for three other bytes where two are one. There the others stand side by side; in Western words, alone.
    """
    good, bad = _count_utf8(data)
    if good < bad or good >= 4 * bad:
        return good >= bad
    text = data.decode("utf-8", "surrogateescape")
    return 10 * sum(1 for _ in _LONE_STRAY.finditer(text)) >= 9 * bad


def _count_utf8(data: bytes) -> tuple[int, int]:
    """How many characters beyond ASCII there are, and how many bytes that belong to no character."""
    decoder = codecs.getincrementaldecoder("utf-8")("ignore")
    characters = kept = 0
    for start in range(0, len(data), _BLOCK_BYTES):  # Copies of the whole would take too much memory.
        end = start + _BLOCK_BYTES
        text = decoder.decode(data[start:end], final=end >= len(data))
        characters += len(text) - len(text.encode("ascii", "ignore"))
        kept += len(text.encode())
    return characters, len(data) - kept


def _utf8_but_for_strays(data: bytes) -> Decoded:
    _, bad = _count_utf8(data)
    if not bad:
        return Decoded(data.decode())
    text = _CUT.sub("\ufffd", data.decode("utf-8", "surrogateescape")).translate(_STRAYS)
    strays = "1 byte" if bad == 1 else f"{bad:,} bytes"
    return Decoded(
        text,
        f"It is UTF-8 but for {strays}, read as windows-1252 or, where that has no character, as \ufffd.",
    )


def _decode_legacy(data: bytes) -> Decoded:
    sample = _sample(data)
    best = None if _looks_western(sample) else from_bytes(sample, cp_isolation=_CANDIDATES).best()
    if best is None:
        return _guessed(_western(data), "cp1252")
    return _guessed(data.decode(best.encoding, "replace"), best.encoding)


def _guessed(text: str, encoding: str) -> Decoded:
    name = encoding.replace("cp125", "windows-125").replace("_", "-")
    return Decoded(text, f"It is not UTF-8 and was read as {name}, which is a guess.")


def _sample(data: bytes) -> bytes:
    """The beginning, or what is around the first byte that is not ASCII where that comes later."""
    first = _HIGH.search(data)
    start = 0 if first is None or first.start() < _SAMPLE_BYTES else first.start() - _SAMPLE_BYTES // 2
    return data[start : start + _SAMPLE_BYTES]


def _looks_western(sample: bytes) -> bool:
    """Few accented letters, seldom side by side: Western European in cp1252, the commonest case by far."""
    high = [index for index, byte in enumerate(sample) if byte >= 0x80]
    if not high or any(sample[index] not in _WESTERN for index in high):
        return False
    letters = sum(1 for byte in sample if byte >= 0xC0 or chr(byte).isalpha())
    neighbours = sum(1 for left, right in pairwise(high) if right == left + 1)
    return len(high) <= 0.4 * max(letters, 1) and neighbours * 4 <= len(high)


def _western(data: bytes) -> str:
    """cp1252, with Latin-1 for the five bytes that it leaves open."""
    text = _try(data, "cp1252")
    return text if text is not None else data.decode("latin-1")
