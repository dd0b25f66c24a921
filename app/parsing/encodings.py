"""Bytes of unknown encoding to text."""

from __future__ import annotations

import codecs
from itertools import pairwise

from charset_normalizer import from_bytes

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
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
_ISO_2022_JP_ESCAPES = (b"\x1b$B", b"\x1b$@", b"\x1b(J")


def decode(data: bytes, declared: str | None = None) -> str:
    """Text of the bytes: by byte order mark, by the declared encoding if that fits, else by looking at them.

    Only where no encoding fits do U+FFFD appear.
    """
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    for encoding in filter(None, (declared, _wide_encoding(data))):
        text = _try(data, encoding)
        if text is not None:
            return text
    if any(escape in data for escape in _ISO_2022_JP_ESCAPES):
        text = _try(data, "iso2022_jp_2")
        if text is not None:
            return text
    text = _try(data, "utf-8")
    return text if text is not None else _decode_legacy(data)


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


def _wide_encoding(data: bytes) -> str | None:
    """UTF-16 without a mark gives itself away by the zero bytes of its spaces, digits and line ends."""
    sample = data[:_SAMPLE_BYTES]
    if len(sample) < 4 or b"\0" not in sample:
        return None
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if max(even, odd) < 10 * min(even, odd) + 1 or max(even, odd) * 50 < len(sample) // 2:
        return None
    return "utf-16-be" if even > odd else "utf-16-le"


def _decode_legacy(data: bytes) -> str:
    sample = data[:_SAMPLE_BYTES]
    if _looks_western(sample):
        return _western(data)
    best = from_bytes(sample, cp_isolation=_CANDIDATES).best()
    if best is None:
        # Mostly UTF-8 with a few broken bytes (a log, a cut file), or nothing that can be told.
        return _mostly_utf8(data) or _western(data)
    return data.decode(best.encoding, "replace")


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


def _mostly_utf8(data: bytes) -> str | None:
    text = data.decode("utf-8", "replace")
    broken = text.count("\ufffd")
    good = sum(1 for character in text[:_SAMPLE_BYTES] if character >= "\x80" and character != "\ufffd")
    return text if good > 2 * broken else None
