"""Zip containers of the office formats: bounded before anything is unpacked, XML read without its teeth."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, BinaryIO, TypeAlias

from lxml import etree  # type: ignore[import-untyped]

from app.errors import CorruptFile, EncryptedFile

Element: TypeAlias = Any  # lxml ships no types.

MAX_UNPACKED_BYTES = 1 << 30
MAX_MEMBERS = 50_000
# Office XML shrinks to a twentieth at best; a hundred megabytes out of almost nothing is an attack.
_SUSPICIOUS_BYTES = 64 << 20
_SUSPICIOUS_RATIO = 200
_BLOCK_BYTES = 1 << 20
_ENCRYPTED_FLAG = 0x1


@contextmanager
def open_archive(file: BinaryIO) -> Iterator[zipfile.ZipFile]:
    """A zip whose members fit their declared sizes, and those a bound.

    Raises:
        CorruptFile: It is cut, damaged or a bomb.
        EncryptedFile: Its members are encrypted.
    """
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, UnicodeError) as error:
        raise CorruptFile("The file is cut off or damaged: it is not a complete zip container.") from error
    with archive:
        _check_declared_sizes(archive, size_of(file))
        yield archive


def check_archive(file: BinaryIO) -> None:
    """Unpack every member into nothing, for readers that would not stop at the declared size themselves."""
    with open_archive(file) as archive:
        for member in archive.infolist():
            with archive.open(member):  # Checks the local header, and leaves the file behind it.
                pass
            _check_actual_size(file, member)


def size_of(file: BinaryIO) -> int:
    """Of an open file, which is at its beginning afterwards."""
    size_bytes = file.seek(0, os.SEEK_END)
    file.seek(0)
    return size_bytes


def _check_declared_sizes(archive: zipfile.ZipFile, size_bytes: int) -> None:
    members = archive.infolist()
    unpacked = sum(member.file_size for member in members)
    if len(members) > MAX_MEMBERS or unpacked > MAX_UNPACKED_BYTES:
        raise CorruptFile("The file would unpack to more than can be read: it looks like a zip bomb.")
    if unpacked > _SUSPICIOUS_BYTES and unpacked > _SUSPICIOUS_RATIO * size_bytes:
        raise CorruptFile("The file unpacks to hundreds of times its size: it looks like a zip bomb.")
    if any(member.compress_size > size_bytes for member in members):
        raise CorruptFile("The file is cut off or damaged: a part is longer than the whole.")
    if any(member.flag_bits & _ENCRYPTED_FLAG for member in members):
        raise EncryptedFile


def _check_actual_size(file: BinaryIO, member: zipfile.ZipInfo) -> None:
    if member.compress_type != zipfile.ZIP_DEFLATED:
        return
    file.seek(member.header_offset + 26)
    name_and_extra = file.read(4)
    file.seek(int.from_bytes(name_and_extra[:2], "little") + int.from_bytes(name_and_extra[2:], "little"), 1)
    inflater, left, unpacked = zlib.decompressobj(-zlib.MAX_WBITS), member.compress_size, 0
    while left > 0 and not inflater.eof:
        block = file.read(min(left, _BLOCK_BYTES))
        if not block:
            raise CorruptFile("The file is cut off: a part of it is missing.")
        left -= len(block)
        while block and not inflater.eof:
            unpacked += len(inflater.decompress(block, _BLOCK_BYTES))
            if unpacked > member.file_size:
                raise CorruptFile("The file unpacks to more than it declares: it looks like a zip bomb.")
            block = inflater.unconsumed_tail


def read_member(archive: zipfile.ZipFile, name: str) -> bytes | None:
    """One member, or None if there is none; zipfile itself stops at the declared size."""
    try:
        return archive.read(name)
    except KeyError:
        return None


def parse_xml(data: bytes, *, recover: bool = False) -> Element:
    """The root element. No entity is expanded, no file or host is touched, depth and size stay bounded.

    Raises:
        etree.XMLSyntaxError: It is not well-formed.
        MemoryError: A limit of this process was met; lxml calls that a syntax error, too.
    """
    try:
        return etree.fromstring(data, safe_parser(recover=recover))
    except etree.XMLSyntaxError as error:
        if error.code == etree.ErrorTypes.ERR_NO_MEMORY:
            raise MemoryError from error
        raise


def safe_parser(*, recover: bool = False) -> Any:
    return etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        recover=recover,
        remove_comments=True,
        remove_pis=True,
    )


def read_xml(
    archive: zipfile.ZipFile, name: str, *, renamed: Mapping[bytes, bytes] = MappingProxyType({})
) -> Element | None:
    """The root element of a member, or None if there is none; namespaces in `renamed` are replaced."""
    data = read_member(archive, name)
    if data is None:
        return None
    for old, new in renamed.items():
        data = data.replace(old, new)
    return parse_xml(data)
