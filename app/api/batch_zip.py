"""The documents in a zip: its members, one after the other, bounded before and while they are unpacked."""

from __future__ import annotations

import asyncio
import stat
import zipfile
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

from fastapi.exceptions import RequestValidationError
from starlette.datastructures import UploadFile

from app.api.errors import invalid_request
from app.api.upload import SPOOL_BYTES, checked, display_name, display_path
from app.core.config import Settings
from app.errors import (
    CorruptFile,
    EncryptedFile,
    PayloadTooLarge,
    ServiceError,
    UnsupportedMember,
)
from app.schemas.batch import BatchQuery
from app.schemas.ingest import IngestFields
from app.services.batch_service import Refused
from app.services.intake_service import Offer

#: What the directory of a zip may have for each document that a batch may have: its names, mostly.
DIRECTORY_BYTES_PER_ITEM = 256
DIRECTORY_BYTES = 256 * 1024

#: Others take memory that the archive chooses (LZMA), or are made by nobody.
COMPRESSIONS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})

ENCRYPTED = 0x1
BLOCK_BYTES = 256 * 1024

#: A second file for each, with its icon and the like, as macOS packs them.
RESOURCE_FORKS = "__MACOSX/"

#: What macOS and Windows leave in folders about how they are shown; in small letters.
LEFTOVERS = frozenset({".ds_store", "thumbs.db", "desktop.ini"})


async def zip_items(
    blocks: AsyncGenerator[bytes, None], settings: Settings, query: BatchQuery
) -> AsyncIterator[Offer | Refused]:
    """The members of the zip that comes, each unpacked when it is its turn; not what systems put beside them.

    Raises:
        CorruptFile: It is no zip, or not all of one.
        PayloadTooLarge: Its members unpack to more than a batch may have; those before were taken.
    """
    with SpooledTemporaryFile(SPOOL_BYTES) as spool:
        received = UploadFile(spool)  # type: ignore[arg-type]  # It has all the methods that are used.
        async with aclosing(blocks):
            async for block in blocks:
                await received.write(block)
        bounded = _Bounded(spool, DIRECTORY_BYTES + settings.MAX_BATCH_ITEMS * DIRECTORY_BYTES_PER_ITEM)
        archive = await asyncio.to_thread(_opened, bounded)
        left_bytes = settings.MAX_BATCH_BYTES
        for member in archive.infolist():
            if member.is_dir() or _is_leftover(member.filename):
                continue
            with SpooledTemporaryFile(SPOOL_BYTES) as content:
                try:
                    _check(member, limit_bytes=settings.MAX_UPLOAD_BYTES)
                    left_bytes -= member.file_size  # No more than that comes out of it, whole or damaged.
                    if left_bytes >= 0:
                        await asyncio.to_thread(_unpack, archive, member, content)
                except ServiceError as error:
                    yield Refused(error, display_path(member.filename))
                    continue
                if left_bytes < 0:
                    raise PayloadTooLarge(settings.MAX_BATCH_BYTES)
                yield file_offer(cast(BinaryIO, content), member.filename, query, {})


def file_offer(
    content: BinaryIO, path: str, query: BatchQuery, fields: Mapping[str, object]
) -> Offer | Refused:
    """A file as an item of a batch. Its path is at most a name, and leads nowhere."""
    said = {"collection": query.collection, **fields}
    if query.external_ids == "path":
        said["external_id"] = path
    try:
        named = checked(lambda: IngestFields.model_validate(said))
    except RequestValidationError as error:
        return Refused(invalid_request(error)[0], display_path(path))
    return Offer(
        content=content,
        collection=named.collection,
        external_id=named.external_id,
        source_name=display_name(path),
        path=display_path(path),
        metadata=named.metadata,
    )


class _Bounded:
    """A file of which no more is read at once than its reader may hold: zipfile reads a directory whole."""

    def __init__(self, file: SpooledTemporaryFile[bytes], limit_bytes: int) -> None:
        self._file = file
        self._limit_bytes = limit_bytes

    def read(self, size: int = -1) -> bytes:
        if size > self._limit_bytes:
            raise CorruptFile("The zip's directory is far larger than one of so many files has to be.")
        return self._file.read(self._limit_bytes if size < 0 else size)

    def seek(self, offset: int, whence: int = 0) -> int:
        self._file.seek(offset, whence)
        return self._file.tell()

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        """It is its owner's."""


def _is_leftover(path: str) -> bool:
    return path.startswith(RESOURCE_FORKS) or path.rpartition("/")[2].lower() in LEFTOVERS


def _opened(file: _Bounded) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(cast(BinaryIO, file))
    except (zipfile.BadZipFile, ValueError, NotImplementedError, UnicodeError, EOFError) as error:
        raise CorruptFile("The body is no zip, or a damaged one, or not all of it.") from error


def _check(member: zipfile.ZipInfo, *, limit_bytes: int) -> None:
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in {0, stat.S_IFREG}:
        raise UnsupportedMember("it is a link, or something else that is not a file")
    if member.flag_bits & ENCRYPTED:
        raise EncryptedFile
    if member.compress_type not in COMPRESSIONS:
        raise UnsupportedMember("its compression is not deflate")
    if member.file_size > limit_bytes:
        raise PayloadTooLarge(limit_bytes)


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo, content: SpooledTemporaryFile[bytes]) -> None:
    try:
        with archive.open(member) as packed:
            while block := packed.read(BLOCK_BYTES):
                content.write(block)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, RuntimeError) as error:
        raise CorruptFile("The zip's member is damaged.") from error
    content.seek(0)
