"""Reads the body of `POST /ingest/batch`, document by document as it comes; bounded, whatever is in it."""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, closing
from dataclasses import dataclass, field
from io import BytesIO
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, cast

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic_core import from_json
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect

from app.api.batch_zip import file_offer, zip_items
from app.api.errors import invalid_request
from app.api.upload import (
    SPOOL_BYTES,
    checked,
    counted,
    display_path,
    form_name,
    json_readers,
    media_type_of,
    parsed_request,
    require_usual_charset,
    spool_troubles_told,
)
from app.core.config import Settings
from app.errors import MalformedBody, PayloadTooLarge, ServiceError, UnknownBatchType
from app.schemas.batch import BatchQuery
from app.schemas.ingest import MAX_METADATA_BYTES, IngestFields, IngestRequest, shown
from app.services.batch_service import Refused
from app.services.intake_service import Offer

NDJSON = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})
ZIP = frozenset({"application/zip", "application/x-zip-compressed"})

#: What may be said once, for all files of a form.
FORM_FIELDS = frozenset({"collection", "metadata"})

#: A line that is longer is read beside the event loop.
SMALL_LINE_BYTES = 64 * 1024


def batch_items(request: Request, settings: Settings, query: BatchQuery) -> AsyncIterator[Offer | Refused]:
    """The documents in the request's body. Each offer can be read until the next one is asked for.

    Raises:
        UnknownBatchType: It is none of the three kinds of body; at once.
        PayloadTooLarge, MalformedBody, CorruptFile, StorageFull: While it is read: this was all of it.
    """
    content_type = request.headers.get("content-type", "")
    kind = media_type_of(content_type)
    if kind in NDJSON:
        return _whole(_line_items(request, settings, query))
    if kind in ZIP:
        return _whole(zip_items(counted(request, settings.MAX_BATCH_BYTES), settings, query))
    if kind == "multipart/form-data":
        require_usual_charset(content_type)
        return _whole(_form_items(request, settings, query))
    raise UnknownBatchType(content_type)


async def _whole(items: AsyncIterator[Offer | Refused]) -> AsyncIterator[Offer | Refused]:
    """Tells what goes wrong in words of ours."""
    try:
        with spool_troubles_told():
            async for item in items:
                yield item
    except ClientDisconnect as error:
        raise MalformedBody("The connection ended before the body did.") from error
    except RequestValidationError as error:
        raise invalid_request(error)[0] from error


# --- A line each -------------------------------------------------------------------------------------------


async def _line_items(
    request: Request, settings: Settings, query: BatchQuery
) -> AsyncIterator[Offer | Refused]:
    is_first = True
    async with aclosing(counted(request, settings.MAX_BATCH_BYTES)) as blocks:
        async for line in _lines(blocks, settings.MAX_JSON_BYTES):
            if line is None:
                yield Refused(PayloadTooLarge(settings.MAX_JSON_BYTES))
                continue
            plain = line.removeprefix(codecs.BOM_UTF8) if is_first else line
            is_first = False
            if plain.strip():
                yield await _line_item(plain, query)


async def _lines(blocks: AsyncIterator[bytes], limit_bytes: int) -> AsyncIterator[bytes | None]:
    """Lines without their ends; None for one over the limit, of which no more is held."""
    held = bytearray()
    is_over = False
    async for block in blocks:
        *ends, rest = block.split(b"\n")
        for end in ends:
            held += end
            yield None if is_over or len(held) > limit_bytes else bytes(held)
            held.clear()
            is_over = False
        held += rest
        if len(held) > limit_bytes:
            is_over = True
            held.clear()
    if held or is_over:
        yield None if is_over else bytes(held)


async def _line_item(line: bytes, query: BatchQuery) -> Offer | Refused:
    try:
        if len(line) <= SMALL_LINE_BYTES:
            asked = parsed_request(line)
        else:
            asked = await asyncio.get_running_loop().run_in_executor(json_readers, parsed_request, line)
    except RequestValidationError as error:
        return Refused(invalid_request(error, list(IngestRequest.model_fields))[0])
    except ServiceError as error:
        return Refused(error)
    return Offer(
        content=BytesIO(asked.body.encode()),
        collection=asked.collection if "collection" in asked.model_fields_set else query.collection,
        external_id=asked.external_id,
        title=asked.title,
        metadata=asked.metadata,
    )


# --- A part each -------------------------------------------------------------------------------------------


async def _form_items(
    request: Request, settings: Settings, query: BatchQuery
) -> AsyncIterator[Offer | Refused]:
    reader = _FormReader(settings.MAX_UPLOAD_BYTES, query)
    parser = MultipartParser(_boundary(request.headers["content-type"]), reader.callbacks())
    broken: FormParserError | None = None
    with closing(reader):
        async with aclosing(counted(request, settings.MAX_BATCH_BYTES)) as blocks:
            async for block in blocks:
                try:
                    parser.write(block)
                except FormParserError as error:
                    broken = error
                async for item in reader.items():  # Also what stands before the break.
                    yield item
                if broken is not None:
                    break
        if broken is not None or not reader.is_whole:
            raise MalformedBody(
                f"The form is cut off or broken: {broken or 'its end is missing'}."
            ) from broken


def _boundary(content_type: str) -> bytes:
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise MalformedBody("The form's Content-Type names no boundary.")
    return boundary


@dataclass(slots=True)
class _Part:
    """A part of a form on its way in: a file in its spool, or a field."""

    headers: dict[str, bytes] = field(default_factory=dict)
    name: str = ""
    file_name: str | None = None
    spool: SpooledTemporaryFile[bytes] | None = None
    value: bytearray = field(default_factory=bytearray)
    size_bytes: int = 0


class _FormReader:
    """From the parser's events to items: fields first, which hold for all, then a file for each document."""

    def __init__(self, limit_bytes: int, query: BatchQuery) -> None:
        self._limit_bytes = limit_bytes
        self._query = query
        self._events: list[tuple[str, bytes]] = []
        self._header = (b"", b"")
        self._part = _Part()
        self._fields: dict[str, object] = {}
        self._has_files = False
        self.is_whole = False

    def callbacks(self) -> Any:
        """What python-multipart calls; it only notes, since it cannot wait."""

        def noted(kind: str) -> Callable[[bytes, int, int], None]:
            return lambda data, start, end: self._events.append((kind, data[start:end]))

        return {
            "on_part_begin": lambda: self._events.append(("begin", b"")),
            "on_header_field": noted("header_name"),
            "on_header_value": noted("header_value"),
            "on_header_end": lambda: self._events.append(("header", b"")),
            "on_headers_finished": lambda: self._events.append(("headers", b"")),
            "on_part_data": noted("data"),
            "on_part_end": lambda: self._events.append(("end", b"")),
            "on_end": self._end,
        }

    def _end(self) -> None:
        self.is_whole = True

    async def items(self) -> AsyncIterator[Offer | Refused]:
        """What has become complete since the last call."""
        events, self._events = self._events, []
        for kind, data in events:
            if kind == "begin":
                self.close()
                self._part = _Part()
            elif kind == "header_name":
                self._header = (self._header[0] + data, self._header[1])
            elif kind == "header_value":
                self._header = (self._header[0], self._header[1] + data)
            elif kind == "header":
                self._part.headers[self._header[0].lower().decode("latin-1")] = self._header[1]
                self._header = (b"", b"")
            elif kind == "headers":
                self._begin()
            elif kind == "data":
                await self._add(data)
            elif self._part.file_name is not None:
                yield self._item()
            else:
                self._keep_field()

    def _begin(self) -> None:
        _, options = parse_options_header(self._part.headers.get("content-disposition", b""))
        self._part.name = options.get(b"name", b"").decode("utf-8", "replace")
        if b"filename" in options:
            self._part.file_name = form_name(options[b"filename"].decode("utf-8", "replace"))
            self._part.spool = SpooledTemporaryFile(SPOOL_BYTES)  # noqa: SIM115  # `close` does.
            self._has_files = True
        elif self._has_files:
            raise MalformedBody(f"The field `{shown(self._part.name)[:100]}` has to come before the files.")
        elif self._part.name not in FORM_FIELDS:
            raise MalformedBody(f"A batch has no field `{shown(self._part.name)[:100]}` for all of it.")

    async def _add(self, data: bytes) -> None:
        part = self._part
        part.size_bytes += len(data)
        if part.spool is not None:
            if part.size_bytes <= self._limit_bytes:
                await UploadFile(part.spool, size=0).write(data)  # type: ignore[arg-type]  # Enough of a file.
        elif part.size_bytes > MAX_METADATA_BYTES * 2:
            raise MalformedBody(f"The field `{part.name}` is too long.")
        else:
            part.value += data

    def _keep_field(self) -> None:
        value = bytes(self._part.value).decode("utf-8", "replace")
        if self._part.name == "metadata":
            try:
                self._fields["metadata"] = from_json(value)
            except ValueError as error:
                raise MalformedBody(f"The field `metadata` is not JSON: {error}.") from error
        else:
            self._fields[self._part.name] = value
        checked(lambda: IngestFields.model_validate(self._fields))

    def _item(self) -> Offer | Refused:
        part = self._part
        assert part.spool is not None
        assert part.file_name is not None
        shown_name = display_path(part.file_name)
        if part.name != "file":
            return Refused(MalformedBody("The part of a file has to be named `file`."), shown_name)
        if part.size_bytes > self._limit_bytes:
            return Refused(PayloadTooLarge(self._limit_bytes), shown_name)
        part.spool.seek(0)
        return file_offer(cast(BinaryIO, part.spool), part.file_name, self._query, self._fields)

    def close(self) -> None:
        """Let go of the part that is under way."""
        if self._part.spool is not None:
            self._part.spool.close()
