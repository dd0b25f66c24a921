"""What the server has already. It is asked, each time: nothing is remembered here that could be wrong."""

from __future__ import annotations

import asyncio
import hashlib
import os.path
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

from app.cli.ingesting.walking import File
from app.client import AsyncSluice, Document
from app.client.errors import CollectionNotFound

#: Documents that one page of the list brings in the time that a question about one of them takes.
LISTED_AS_QUICKLY = 25

PAGE = 500
AT_ONCE = 8
HASHED_AT_ONCE = 64
BLOCK_BYTES = 1024 * 1024


async def known_of(sluice: AsyncSluice, files: Iterable[File], collection: str) -> dict[str, Document]:
    """The documents that the files are already, by external id, as the server has them now.

    Either all documents of the collection are listed whose names begin as all of the files' do, or, where
    that is more than is wanted to know, each is asked for by itself.
    """
    names = [file.external_id for file in files if file.external_id is not None]
    if not names:
        return {}
    try:
        there = sum((await sluice.collection(collection)).documents.values())
    except CollectionNotFound:
        return {}
    if there == 0:
        return {}
    found = (
        _listed(sluice, names, collection)
        if there <= len(names) * LISTED_AS_QUICKLY
        else _asked(sluice, names, collection)
    )
    return {document.external_id: document async for document in found if document.external_id is not None}


async def _listed(sluice: AsyncSluice, names: Sequence[str], collection: str) -> AsyncIterator[Document]:
    begin = os.path.commonprefix(names)  # noqa: RUF071  # The server, too, compares letter by letter.
    wanted = frozenset(names)
    async for document in sluice.documents(
        collection=collection, external_id_prefix=_storable(begin) or None, page_size=PAGE
    ):
        if document.external_id in wanted:
            yield document


async def _asked(sluice: AsyncSluice, names: Sequence[str], collection: str) -> AsyncIterator[Document]:
    async def ask(name: str) -> list[Document]:
        return [each async for each in sluice.documents(collection=collection, external_id=name, page_size=1)]

    askable = [name for name in names if _storable(name) == name]
    for start in range(0, len(askable), AT_ONCE):
        for answer in await asyncio.gather(*map(ask, askable[start : start + AT_ONCE])):
            for document in answer:
                yield document


def _storable(name: str) -> str:
    """As much of a name as can be asked for: the rest of a file's name may be no UTF-8."""
    try:
        return name.encode().decode()
    except UnicodeEncodeError as error:
        return name[: error.start]


async def unchanged(files: Sequence[File], known: Mapping[str, Document]) -> AsyncIterator[tuple[File, bool]]:
    """Each file, and whether the server has just this content under its name.

    Only files of the same size are read for it. Times tell nothing: a clock may be wrong, and a checkout
    touches everything.
    """
    for start in range(0, len(files), HASHED_AT_ONCE):
        for told in await asyncio.to_thread(_compared, files[start : start + HASHED_AT_ONCE], known):
            yield told


def _compared(files: Sequence[File], known: Mapping[str, Document]) -> list[tuple[File, bool]]:
    return [(file, _is_same(file, known)) for file in files]


def _is_same(file: File, known: Mapping[str, Document]) -> bool:
    document = known.get(file.external_id or "")
    if document is None or document.size_bytes != file.size_bytes or file.path is None:
        return False
    try:
        return sha256_of(file) == document.sha256
    except OSError:
        return False  # Sending it will say what is wrong.


def sha256_of(file: File) -> str:
    """Of its content, in hexadecimal digits."""
    assert file.path is not None
    with file.path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
