"""Answers with a file that somebody has sent us, so that it can do no harm where it is opened."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, BinaryIO
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.responses import FileResponse
from starlette.types import Message, Receive, Scope, Send

from app.api.errors import problem
from app.errors import RangeNotSatisfiable
from app.storage.content_store import RemoteContent

#: What browsers need to hear, so that HTML or SVG runs no script in the name of this service.
HARMLESS = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; sandbox",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "private, no-cache",
}

#: What FileResponse understands; anything else is not for us, and ignored, as RFC 9110 wants it.
RANGES = re.compile(r"bytes=(?:\s*(?:\d{1,18}-\d{0,18}|-\d{1,18})\s*(?:,|$))+")

#: What some file system takes for a separator or a wildcard, or a program for an option or a hidden file.
UNSAFE = re.compile(r'[\x00-\x1f\x7f"*/:<>?\\|]')
MAX_NAME_CHARS = 150


def safe_name(name: str) -> str:
    """A file's name that means nothing but itself, wherever it is saved."""
    cleaned = UNSAFE.sub("_", name).strip(" .")
    return cleaned[-MAX_NAME_CHARS:].lstrip(" .-~") or "document"


def attachment(name: str) -> str:
    """`Content-Disposition` (RFC 6266): the name in ASCII for old clients, and as it is (RFC 5987)."""
    safe = safe_name(name)
    plain = unicodedata.normalize("NFKD", safe).encode("ascii", "ignore").decode()
    plain = safe_name(plain.replace("%", "_"))
    encoded = quote(safe.encode("utf-8", "replace"), safe="")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"


class ContentAnswer(FileResponse):
    """A content, whole or in ranges."""

    def __init__(self, path: str, stat: os.stat_result, *, media_type: str, name: str, etag: str) -> None:
        self._etag = etag
        super().__init__(
            path,
            stat_result=stat,
            # Given as a header, the type stays as it is; else all text would be called UTF-8.
            headers=HARMLESS
            | {"etag": etag, "content-type": media_type, "content-disposition": attachment(name)},
        )
        del self.headers["last-modified"]  # When it was stored, which may be long after it was made.

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await super().__call__(self._understood(scope), receive, _refusal_told(scope, receive, send))

    def _understood(self, scope: Scope) -> Scope:
        """The request without a range that is none, or that is for another version (`If-Range`)."""
        headers = Headers(scope=scope)
        is_range = RANGES.fullmatch(headers.get("range", "").strip().lower()) is not None
        kept = is_range and headers.get("if-range", self._etag) == self._etag
        dropped = {b"if-range"} if kept else {b"if-range", b"range"}
        return {**scope, "headers": [pair for pair in scope["headers"] if pair[0].lower() not in dropped]}


class FileAnswer(ContentAnswer):
    """An open file; it is closed afterwards, whatever happens to the client."""

    def __init__(self, file: BinaryIO, *, media_type: str, name: str, etag: str) -> None:
        self._file = file
        # By its descriptor: its name may be gone at any moment.
        path = f"/proc/self/fd/{file.fileno()}"
        super().__init__(path, os.fstat(file.fileno()), media_type=media_type, name=name, etag=etag)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()


class RemoteAnswer(ContentAnswer):
    """What is fetched as it is sent; if that fails on the way, the answer ends before its content does."""

    def __init__(self, content: RemoteContent, *, media_type: str, name: str, etag: str) -> None:
        self._content = content
        size_and_nothing_else = os.stat_result((0, 0, 0, 0, 0, 0, content.size_bytes, 0, 0, 0))
        super().__init__("", size_and_nothing_else, media_type=media_type, name=name, etag=etag)

    @asynccontextmanager
    async def _open_file(self) -> AsyncIterator[Any]:
        # The one place where Starlette asks for its file, which it seeks and reads.
        yield self._content


def content_answer(
    content: BinaryIO | RemoteContent, *, media_type: str, name: str, etag: str
) -> ContentAnswer:
    """The answer that fits where the content is."""
    if isinstance(content, RemoteContent):
        return RemoteAnswer(content, media_type=media_type, name=name, etag=etag)
    return FileAnswer(content, media_type=media_type, name=name, etag=etag)


def _refusal_told(scope: Scope, receive: Receive, send: Send) -> Send:
    """Starlette refuses ranges in plain text; here, as a problem."""
    refused: list[bytes] = []

    async def told(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] in {400, 416}:
            ranges = Headers(raw=message["headers"]).get("content-range")
            refused.append((ranges or "bytes */*").encode())
        elif refused:
            answer = problem(RangeNotSatisfiable())
            answer.headers["content-range"] = refused[0].decode()
            await answer(scope, receive, send)
        else:
            await send(message)

    return told
