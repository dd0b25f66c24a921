"""Where a lexeme's weight is in a chunk's sparse vector: `word_slot` of the database, without asking it."""

from __future__ import annotations

import struct
from collections.abc import Mapping

#: The vectors have a dimension for each number of so many bits.
SLOT_BITS = 29
SLOTS = 1 << SLOT_BITS

_32_BITS = 0xFFFF_FFFF


def slot_of(lexeme: bytes) -> int:
    """From 0; what PostgreSQL's `hashtextextended(lexeme, 0)` is, modulo `SLOTS`.

    Two lexemes in one slot do no harm worth mentioning: there are half a billion. The hash is that by which
    PostgreSQL parts tables, so it stays what it is: Bob Jenkins' lookup3, `hash_bytes_extended` in
    PostgreSQL's src/common/hashfn.c.
    """
    length = len(lexeme)
    a = b = c = (0x9E37_79B9 + length + 3_923_095) & _32_BITS
    whole = length - length % 12
    for at in range(0, whole, 12):
        a = (a + int.from_bytes(lexeme[at : at + 4], "little")) & _32_BITS
        b = (b + int.from_bytes(lexeme[at + 4 : at + 8], "little")) & _32_BITS
        c = (c + int.from_bytes(lexeme[at + 8 : at + 12], "little")) & _32_BITS
        a, b, c = _mixed(a, b, c)
    # The lowest byte of `c` belongs to the length.
    a = (a + int.from_bytes(lexeme[whole : whole + 4], "little")) & _32_BITS
    b = (b + int.from_bytes(lexeme[whole + 4 : whole + 8], "little")) & _32_BITS
    c = (c + (int.from_bytes(lexeme[whole + 8 :], "little") << 8)) & _32_BITS
    return _last_of(a, b, c) % SLOTS


def sparsevec(weights: Mapping[int, float]) -> bytes:
    """The weights of some slots, in the binary format of pgvector's type."""
    slots = sorted(weights)
    values = [weights[slot] for slot in slots]
    return struct.pack(f"!iii{len(slots)}i{len(slots)}f", SLOTS, len(slots), 0, *slots, *values)


def _rotated(x: int, bits: int) -> int:
    return ((x << bits) | (x >> (32 - bits))) & _32_BITS


def _mixed(a: int, b: int, c: int) -> tuple[int, int, int]:
    a = ((a - c) & _32_BITS) ^ _rotated(c, 4)
    c = (c + b) & _32_BITS
    b = ((b - a) & _32_BITS) ^ _rotated(a, 6)
    a = (a + c) & _32_BITS
    c = ((c - b) & _32_BITS) ^ _rotated(b, 8)
    b = (b + a) & _32_BITS
    a = ((a - c) & _32_BITS) ^ _rotated(c, 16)
    c = (c + b) & _32_BITS
    b = ((b - a) & _32_BITS) ^ _rotated(a, 19)
    a = (a + c) & _32_BITS
    c = ((c - b) & _32_BITS) ^ _rotated(b, 4)
    b = (b + a) & _32_BITS
    return a, b, c


def _last_of(a: int, b: int, c: int) -> int:
    c = ((c ^ b) - _rotated(b, 14)) & _32_BITS
    a = ((a ^ c) - _rotated(c, 11)) & _32_BITS
    b = ((b ^ a) - _rotated(a, 25)) & _32_BITS
    c = ((c ^ b) - _rotated(b, 16)) & _32_BITS
    a = ((a ^ c) - _rotated(c, 4)) & _32_BITS
    b = ((b ^ a) - _rotated(a, 14)) & _32_BITS
    return ((c ^ b) - _rotated(b, 24)) & _32_BITS
