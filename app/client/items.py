"""Documents to send, how one of them is put into a request, and what became of it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, cast
from uuid import UUID

from app.client.answers import BatchItem, Status
from app.client.errors import NotSendable, SluiceError

#: Larger ones go by themselves, so that one that breaks off does not take others with it.
SMALL_BYTES = 1024 * 1024

#: Above this, what cannot be read twice waits on the disk.
SPOOL_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A document to ingest: exactly one of `text`, `path`, `content` and `file`.

    Args:
        text: Plain text; sent as JSON, or, with a `name`, as a file of that name.
        path: A file; read while it is sent, so as large as the server allows.
        content: The bytes of a file.
        file: A file that is open for reading bytes. It is read from its beginning; what cannot be read
            twice, a pipe for one, is kept until it is sent.
        name: The file's name, from which the server may tell its type; that of `path` unless given.
        title, external_id, collection, metadata: As in `POST /ingest`.
    """

    text: str | None = field(default=None, repr=False)
    path: Path | str | None = None
    content: bytes | None = field(default=None, repr=False)
    file: BinaryIO | None = None
    name: str | None = None
    title: str | None = None
    external_id: str | None = None
    collection: str = "default"
    metadata: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        given = [part for part in (self.text, self.path, self.content, self.file) if part is not None]
        if len(given) != 1:
            raise TypeError("give exactly one of text, path, content and file")

    @property
    def is_text(self) -> bool:
        """Whether it goes as JSON, which has no name of a file."""
        return self.text is not None and self.name is None

    @property
    def file_name(self) -> str:
        if self.name is not None:
            return self.name
        name = self.path if self.path is not None else getattr(self.file, "name", None)
        return Path(name).name if isinstance(name, str | os.PathLike) else "document"

    @property
    def label(self) -> str:
        """What to call it in messages."""
        return self.external_id or str(self.path or self.name or self.title or "document")

    @property
    def fields(self) -> dict[str, Any]:
        """What is said about it, without what is not said."""
        said = {"title": self.title, "external_id": self.external_id, "metadata": self.metadata}
        return {"collection": self.collection, **{k: v for k, v in said.items() if v is not None}}

    def loaded(self) -> Item:
        """With its bytes in memory if it is a small file; else as it is.

        Raises:
            NotSendable: It cannot be read.
        """
        if self.text is not None and self.name is not None:
            return replace(self, text=None, content=self.text.encode("utf-8", "surrogatepass"))
        if self.path is None:
            return self
        with told_if_unreadable(self.path), Path(self.path).open("rb") as file:
            content = file.read(SMALL_BYTES + 1)
        if len(content) > SMALL_BYTES:
            return self
        return replace(self, path=None, content=content, name=self.file_name)


class told_if_unreadable:  # noqa: N801  # Reads as what it does; a class, since generators cost more.
    """An `OSError` inside the block is `NotSendable`."""

    def __init__(self, path: Path | str) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise NotSendable(f"{self._path} cannot be read: {error.strerror or error}.") from error


class Body:
    """The body of `POST /ingest` for one item; the same at every try."""

    def __init__(self, item: Item) -> None:
        self._item = item
        self._file: BinaryIO | None = None
        self._owned: list[BinaryIO] = []

    def __enter__(self) -> Body:
        item = self._item
        if item.path is not None:
            with told_if_unreadable(item.path):
                file = self._own(Path(item.path).open("rb"))  # `__exit__` closes it.
            self._file = file if _can_seek(file) else self._own(_spooled(file))
        elif item.file is not None:
            self._file = item.file if _can_seek(item.file) else self._own(_spooled(item.file))
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._owned:
            file.close()

    def _own(self, file: BinaryIO) -> BinaryIO:
        self._owned.append(file)
        return file

    def parts(self) -> dict[str, Any]:
        """For httpx, which reads a file from its beginning."""
        item = self._item
        if item.is_text:
            return {"json": {"text": item.text, **item.fields}}
        said = item.fields
        if "metadata" in said:
            said["metadata"] = compact_json(said["metadata"])
        content = self._file or (item.content if item.content is not None else (item.text or "").encode())
        return {"data": said, "files": {"file": (item.file_name, content, "application/octet-stream")}}


def _can_seek(file: BinaryIO) -> bool:
    try:
        return file.seekable()
    except (AttributeError, ValueError):
        return False


def _spooled(file: BinaryIO) -> BinaryIO:
    spool = SpooledTemporaryFile(SPOOL_BYTES)  # noqa: SIM115  # `Body` closes it.
    while block := file.read(256 * 1024):
        spool.write(block)
    spool.rollover()  # httpx asks for its length by its descriptor.
    return cast(BinaryIO, spool)


def compact_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Entry:
    """An item and its place, on its way."""

    index: int
    given: Item
    item: Item  # With its content.


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one item: it has a document, or an error."""

    item: Item
    index: int  # Among all that were given, from 0.
    document_id: UUID | None = None
    status: Status | None = None
    created: bool = False  # A new document, or a new version of one.
    error: SluiceError | None = None
    batch_id: UUID | None = None

    @classmethod
    def told(cls, entry: Entry, said: BatchItem, batch_id: UUID | None) -> Outcome:
        """As the server told it."""
        error = None if said.error is None else said.error.as_error()
        return cls(entry.given, entry.index, said.document_id, said.status, said.created, error, batch_id)
