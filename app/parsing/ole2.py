"""OLE2 containers (old Office files, encrypted new ones): the names of their outermost streams."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from app.errors import CorruptFile

_HEADER_BYTES = 512
_ENTRY_BYTES = 128
_FREE = 0xFFFFFFF0  # This and above are no sectors but marks.
_NOTHING = 0xFFFFFFFF
_MAX_DIRECTORY_SECTORS = 4096
_HEADER_FAT_ENTRIES = 109


def root_streams(file: BinaryIO) -> set[str]:
    """Names of what lies directly in the root; what is embedded deeper does not tell what the file is.

    Raises:
        CorruptFile: The container is cut or damaged.
    """
    try:
        file.seek(0)
        entries = list(_Directory(file).entries())
        return set(_names_below_root(entries))
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise CorruptFile("The file is cut off or damaged: its container cannot be read.") from error


class _Directory:
    """Follows the chain of directory sectors through the allocation table."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        header = file.read(_HEADER_BYTES)
        self.sector_bytes = 1 << min(struct.unpack_from("<H", header, 30)[0], 12)
        self.first_sector: int = struct.unpack_from("<I", header, 48)[0]
        # Tables beyond these are for what lies past 7 MB. A directory there is cut short: good enough.
        self.fat_sectors = struct.unpack_from(f"<{_HEADER_FAT_ENTRIES}I", header, 76)

    def entries(self) -> Iterator[bytes]:
        sector = self.first_sector
        for _ in range(_MAX_DIRECTORY_SECTORS):
            if sector >= _FREE:
                return
            data = self._sector(sector)
            for start in range(0, len(data), _ENTRY_BYTES):
                yield data[start : start + _ENTRY_BYTES]
            sector = self._next(sector)

    def _sector(self, number: int) -> bytes:
        self.file.seek((number + 1) * self.sector_bytes)
        return self.file.read(self.sector_bytes)

    def _next(self, sector: int) -> int:
        table, index = divmod(sector, self.sector_bytes // 4)
        if table >= len(self.fat_sectors) or self.fat_sectors[table] >= _FREE:
            return _NOTHING
        following: int = struct.unpack_from("<I", self._sector(self.fat_sectors[table]), 4 * index)[0]
        return following


def _names_below_root(entries: list[bytes]) -> Iterator[str]:
    """Children of an entry form a tree by their left and right siblings."""
    waiting = [struct.unpack_from("<I", entries[0], 76)[0]]
    seen: set[int] = set()
    while waiting:
        number = waiting.pop()
        if number in seen or number >= len(entries):
            continue
        seen.add(number)
        entry = entries[number]
        name_bytes = struct.unpack_from("<H", entry, 64)[0]
        yield entry[: max(0, min(name_bytes, 64) - 2)].decode("utf-16-le")
        waiting.extend(struct.unpack_from("<II", entry, 68))
