"""Reads the body of `POST /ingest`, counted as it comes: what is over the limit is never held."""

from __future__ import annotations

import asyncio
import codecs
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from email.message import Message
from functools import lru_cache
from io import BytesIO
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from pydantic_core import from_json
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from app.api.body_limit import declared_bytes
from app.core.config import Settings
from app.errors import MalformedBody, PayloadTooLarge, UnknownBodyType
from app.schemas.ingest import MAX_METADATA_BYTES, IngestFields, IngestRequest, shown
from app.services.intake_service import Offer
from app.storage.files import storage_error

CheckedT = TypeVar("CheckedT")

MAX_NAME_CHARS = 255
MAX_PATH_CHARS = 1024

USUAL_CHARSETS = frozenset({"utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "latin-1"})

#: Up to here, a body waits in memory; more of it on the disk.
SPOOL_BYTES = 1024 * 1024

#: A JSON body takes several times its size while it is read, so only so many are read at once.
json_readers = ThreadPoolExecutor(2, thread_name_prefix="json-reader")

#: Up to here, reading a JSON body takes less time than handing it to one of those.
SMALL_JSON_BYTES = 16 * 1024

#: What may stand around a JSON body's strings: fields, metadata, and the white space between them. Each
#: bracket and comma there becomes an object of a hundred bytes, so that 32 MB of them would fill a machine.
MAX_JSON_STRUCTURE_BYTES = 256 * 1024

#: An unfinished string matches up to the end, and nothing is tried twice: the time is that of one reading.
JSON_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)


@asynccontextmanager
async def offered(request: Request, settings: Settings) -> AsyncIterator[Offer]:
    """The document in the request's body; its content can be read while the block lasts.

    Raises:
        UnknownBodyType: The body is neither JSON nor multipart/form-data.
        PayloadTooLarge: It is over the limit; no more of it is read.
        MalformedBody, RequestValidationError: It is not what it says, or not what we ask for.
        StorageFull: There is no space for it.
    """
    content_type = request.headers.get("content-type", "")
    kind = media_type_of(content_type)
    if kind == "application/json" or kind.endswith("+json"):
        if _is_small(request.headers, min(SMALL_JSON_BYTES, settings.MAX_JSON_BYTES)):
            yield _text_offer(await request.body())
            return
        with SpooledTemporaryFile(SPOOL_BYTES) as spool:
            yield await _json_offer(request, settings.MAX_JSON_BYTES, spool)
    elif kind == "multipart/form-data":
        async with _form(request, settings.MAX_UPLOAD_BYTES) as form:
            yield _form_offer(form)
    else:
        raise UnknownBodyType(content_type)


@lru_cache(maxsize=64)
def media_type_of(content_type: str) -> str:
    """The type without its parameters; empty when there is none."""
    header = Message()
    header["content-type"] = content_type
    return header.get_content_type() if content_type else ""


async def counted(request: Request, limit_bytes: int) -> AsyncGenerator[bytes, None]:
    """The body as it comes, up to the limit.

    Raises:
        PayloadTooLarge: There is more; it is left where it is.
    """
    if declared_bytes(request.headers) > limit_bytes:
        raise PayloadTooLarge(limit_bytes)
    received = 0
    async for block in request.stream():
        received += len(block)
        if received > limit_bytes:
            raise PayloadTooLarge(limit_bytes)
        yield block


async def _json_offer(request: Request, limit_bytes: int, spool: SpooledTemporaryFile[bytes]) -> Offer:
    received = UploadFile(spool)  # type: ignore[arg-type]  # It has all the methods that are used.
    with spool_troubles_told():
        async for block in counted(request, limit_bytes):
            await received.write(block)
        loop = asyncio.get_running_loop()
        fields = await loop.run_in_executor(json_readers, _replace_by_text, spool)
    return _offer(fields, spool, source_name=None)  # type: ignore[arg-type]


def _is_small(headers: Headers, limit_bytes: int) -> bool:
    """Whether the body has no more than this, for sure: one in chunks may have more than its head says."""
    return 0 < declared_bytes(headers) <= limit_bytes and "transfer-encoding" not in headers


def _text_offer(body: bytes) -> Offer:
    asked = parsed_request(body.removeprefix(codecs.BOM_UTF8))
    return _offer(asked, BytesIO(asked.body.encode()), source_name=None)


def _replace_by_text(spool: SpooledTemporaryFile[bytes]) -> IngestFields:
    """Read the JSON in the spool, and leave the document's text there in its place."""
    asked = _parsed_spool(spool)
    spool.seek(0)
    spool.truncate()
    spool.write(asked.body.encode())
    spool.seek(0)
    return asked.model_copy(update={"content": None, "text": None})


def _parsed_spool(spool: SpooledTemporaryFile[bytes]) -> IngestRequest:
    spool.seek(0)
    return parsed_request(spool.read().removeprefix(codecs.BOM_UTF8))


def parsed_request(body: bytes) -> IngestRequest:
    """The document in a JSON body, read in memory and time that its size bounds.

    Raises:
        MalformedBody, RequestValidationError: It is not JSON, or not what we ask for.
    """
    _require_little_structure(body)
    return checked(lambda: IngestRequest.model_validate_json(body))


def _require_little_structure(body: bytes) -> None:
    if len(body) <= MAX_JSON_STRUCTURE_BYTES:
        return
    structure_bytes = read_to = 0
    for strings, string in enumerate(JSON_STRING.finditer(body)):
        structure_bytes += string.start() - read_to
        read_to = string.end()
        if max(structure_bytes, strings) > MAX_JSON_STRUCTURE_BYTES:
            break
    else:
        structure_bytes += len(body) - read_to
        if structure_bytes <= MAX_JSON_STRUCTURE_BYTES:
            return
    raise MalformedBody("The JSON has far more in it than a text, a few fields and their metadata.")


@contextmanager
def spool_troubles_told() -> Iterator[None]:
    """A disk that refuses is `StorageFull`, or `StorageUnavailable`."""
    try:
        yield
    except OSError as error:
        raise storage_error(error) from error


@asynccontextmanager
async def _form(request: Request, limit_bytes: int) -> AsyncIterator[FormData]:
    require_usual_charset(request.headers["content-type"])
    parser = MultiPartParser(
        request.headers,
        counted(request, limit_bytes),
        max_files=1,
        max_fields=len(IngestFields.model_fields),
        max_part_size=MAX_METADATA_BYTES * 2,
    )
    try:
        yield await _parsed(parser)
    finally:
        # Also of parts whose end never came: those are in no form, so that closing the form leaves them open.
        for spool in parser._files_to_close_on_error:
            spool.close()


async def _parsed(parser: MultiPartParser) -> FormData:
    try:
        with spool_troubles_told():
            return await parser.parse()
    except (MultiPartException, KeyError, UnicodeError) as error:
        reason = getattr(error, "message", None) or "the multipart body is malformed"
        if reason.startswith("Too many files"):
            reason = "it has more than one file. Many at once are for POST /ingest/batch."
        raise MalformedBody(f"The body cannot be read: {reason}") from error


def require_usual_charset(content_type: str) -> None:
    """Any codec of Python's may be named there, also punycode, whose time is the square of the length."""
    charset = parse_options_header(content_type)[1].get(b"charset", b"utf-8").decode("latin-1")
    if charset.lower() not in USUAL_CHARSETS:
        raise MalformedBody("The fields of a form must be in UTF-8.")


def checked(validate: Callable[[], CheckedT], *where: str) -> CheckedT:
    """What `validate` makes; what it finds wrong is the fault of the request, `where` in it."""
    try:
        return validate()
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
        raise RequestValidationError([{**each, "loc": (*where, *each["loc"])} for each in found]) from error


def _form_offer(form: FormData) -> Offer:
    fields: dict[str, object] = {name: value for name, value in form.multi_items() if name != "file"}
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise MalformedBody("The form has no part named `file` with a file in it.")
    if "metadata" in fields:
        fields["metadata"] = _metadata(fields["metadata"])
    named = checked(lambda: IngestFields.model_validate(fields))
    return _offer(named, file.file, source_name=display_name(form_name(file.filename or "")))


def _metadata(value: object) -> object:
    try:
        return from_json(value) if isinstance(value, str) else value
    except ValueError as error:
        raise MalformedBody(f"The field `metadata` is not JSON: {error}.") from error


def _offer(fields: IngestFields, content: BinaryIO, *, source_name: str | None) -> Offer:
    return Offer(
        content=content,
        collection=fields.collection,
        external_id=fields.external_id,
        title=fields.title,
        source_name=source_name,
        metadata=fields.metadata,
    )


def form_name(name: str) -> str:
    """A file's name as it was before it was put into a form.

    Three characters are escaped there, and no others, `%` not among them: `100%25.txt` means itself.

    Source:
        WHATWG HTML, "Multipart form data"; so do browsers and httpx.
    """
    return name.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")


def display_name(name: str) -> str | None:
    """A file's name as it may be shown: no folders, nothing invisible; it is never used as a path."""
    last = re.split(r"[/\\]", name)[-1]
    return shown(last)[-MAX_NAME_CHARS:].lstrip() or None


def display_path(path: str) -> str | None:
    """Likewise, with its folders; of a long one, the end."""
    return shown(path)[-MAX_PATH_CHARS:].lstrip() or None
