"""Reads the body of `POST /ingest`, counted as it comes: what is over the limit is never held."""

from __future__ import annotations

import asyncio
import codecs
import errno
import io
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from email.message import Message
from typing import BinaryIO, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from pydantic_core import from_json
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from app.core.config import Settings
from app.errors import MalformedBody, PayloadTooLarge, StorageFull, StorageUnavailable, UnknownBodyType
from app.schemas.ingest import MAX_METADATA_BYTES, IngestFields, IngestRequest
from app.services.intake_service import Offer

FieldsT = TypeVar("FieldsT", bound=IngestFields)

MAX_NAME_CHARS = 255
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


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
    kind = _media_type(content_type)
    if kind == "application/json" or kind.endswith("+json"):
        yield await _json_offer(request, settings.MAX_JSON_BYTES)
    elif kind == "multipart/form-data":
        form = await _form(request, settings.MAX_UPLOAD_BYTES)
        try:
            yield _form_offer(form)
        finally:
            await form.close()
    else:
        raise UnknownBodyType(content_type)


def _media_type(content_type: str) -> str:
    header = Message()
    header["content-type"] = content_type
    return header.get_content_type() if content_type else ""


async def _counted(request: Request, limit_bytes: int) -> AsyncGenerator[bytes, None]:
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared) > limit_bytes:
        raise PayloadTooLarge(limit_bytes)
    received = 0
    async for block in request.stream():
        received += len(block)
        if received > limit_bytes:
            raise PayloadTooLarge(limit_bytes)
        yield block


async def _json_offer(request: Request, limit_bytes: int) -> Offer:
    body = bytearray()
    async for block in _counted(request, limit_bytes):
        body += block
    # Off the event loop: a large body takes a second to check.
    text = bytes(body).removeprefix(codecs.BOM_UTF8)
    asked = await asyncio.to_thread(_checked, lambda: IngestRequest.model_validate_json(text))
    return _offer(asked, io.BytesIO(asked.body.encode()), source_name=None)


async def _form(request: Request, limit_bytes: int) -> FormData:
    parser = MultiPartParser(
        request.headers,
        _counted(request, limit_bytes),
        max_files=1,
        max_fields=len(IngestFields.model_fields),
        max_part_size=MAX_METADATA_BYTES * 2,
    )
    try:
        return await parser.parse()
    except (MultiPartException, KeyError, UnicodeError) as error:
        reason = getattr(error, "message", None) or "the multipart body is malformed"
        raise MalformedBody(f"The body cannot be read: {reason}") from error
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise StorageFull from error
        raise StorageUnavailable(error.strerror or "unknown reason") from error


def _checked(validate: Callable[[], FieldsT]) -> FieldsT:
    try:
        return validate()
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False, include_context=False)) from error


def _form_offer(form: FormData) -> Offer:
    fields: dict[str, object] = {name: value for name, value in form.multi_items() if name != "file"}
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise MalformedBody("The form has no part named `file` with a file in it.")
    if "metadata" in fields:
        fields["metadata"] = _metadata(fields["metadata"])
    checked = _checked(lambda: IngestFields.model_validate(fields))
    return _offer(checked, file.file, source_name=display_name(file.filename))


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


def display_name(name: str | None) -> str | None:
    """A file's name as it may be shown: no folders, nothing invisible; it is never used as a path."""
    last = re.split(r"[/\\]", name or "")[-1]
    return UNPRINTABLE.sub("", last).strip()[-MAX_NAME_CHARS:] or None
