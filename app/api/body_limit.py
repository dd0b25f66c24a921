"""Bounds the body of every call: its bytes as they come, whatever the headers say, and the time they take."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.errors import problem
from app.api.request_figures import kept_waiting
from app.errors import CallTooLarge, EncodedBody, RequestTooSlow

#: A search has at most 8,000 characters.
LIMIT_BYTES = 256 * 1024

#: Their handlers read the body as a stream and count it themselves (`app.api.upload.counted`).
COUNTED_ELSEWHERE = frozenset({"/ingest", "/ingest/batch"})

#: Slower than this, beyond the patience that everybody has, is not a slow line but somebody who holds us up.
SLOWEST_BYTES_PER_S = 4 * 1024

#: How much of a refused body is read, and thrown away, so that its sender finds the answer.
LINGER_S = 2.0
LINGER_BYTES = 16 * 1024 * 1024


def declared_bytes(headers: Headers) -> int:
    """What `Content-Length` promises; 0 when it promises nothing. It is only good for refusing early."""
    declared = headers.get("content-length", "")
    return int(declared) if declared.isascii() and declared.isdigit() else 0


class BodyLimit:
    """ASGI middleware: a body over the limit is answered 413, one that trickles 408, one that is encoded 415.

    Then we hang up.

    Args:
        app: What comes next.
        patience_s: How long a body may keep us waiting, on top of what it takes at `SLOWEST_BYTES_PER_S`.
    """

    def __init__(self, app: ASGIApp, *, patience_s: float) -> None:
        self.app = app
        self.patience_s = patience_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = _Body(scope, receive, self.patience_s)
        answer = _Answer(body, send)
        encoding = _encoding_of(scope)
        if encoding is not None:
            await problem(EncodedBody(encoding))(scope, body.receive, answer.send)
            return
        if scope["path"] in COUNTED_ELSEWHERE:
            await self.app(scope, body.receive, answer.send)
            return
        try:
            whole = await body.read(LIMIT_BYTES, Headers(scope=scope))
        except (CallTooLarge, RequestTooSlow) as error:
            await problem(error)(scope, body.receive, answer.send)
            return
        if whole is not None:
            await self.app(scope, _replaying(whole, receive), answer.send)


class _Body:
    """A request's body on its way in."""

    def __init__(self, scope: Scope, receive: Receive, patience_s: float) -> None:
        self._scope = scope
        self._receive = receive
        self._left_s = patience_s
        self.is_complete = False

    async def receive(self) -> Message:
        """The next message.

        Raises:
            RequestTooSlow: It does not come. Only the time that we wait counts, not what we do in between.
        """
        if self.is_complete:
            return await self._receive()  # For those who want to know whether the client is still there.
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            async with asyncio.timeout(max(self._left_s, 0)):
                message = await self._receive()
        except TimeoutError as error:
            raise RequestTooSlow from error
        waited_s = loop.time() - begun
        kept_waiting(self._scope, waited_s)
        self._left_s += len(message.get("body", b"")) / SLOWEST_BYTES_PER_S - waited_s
        self.is_complete = not message.get("more_body", False)
        return message

    async def read(self, limit_bytes: int, headers: Headers) -> bytes | None:
        """All of it; None when the client hangs up in the middle.

        Raises:
            CallTooLarge: It is over the limit; no more of it has been read than shows that.
            RequestTooSlow: See `receive`.
        """
        if declared_bytes(headers) > limit_bytes:
            raise CallTooLarge(limit_bytes)
        body = bytearray()
        while not self.is_complete:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if len(body) > limit_bytes:
                raise CallTooLarge(limit_bytes)
        return bytes(body)

    async def linger(self) -> None:
        """Read on for a moment.

        A socket that is closed with unread bytes in it sends a reset, which may overtake the answer; and
        many a client looks for an answer only when it has sent everything, or can send no more.
        """
        read_bytes = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while not self.is_complete and read_bytes < LINGER_BYTES:
                    message = await self._receive()
                    read_bytes += len(message.get("body", b""))
                    self.is_complete = not message.get("more_body", False)


class _Answer:
    """Hangs up behind an answer that came before the end of the body: the rest would be read for nothing."""

    def __init__(self, body: _Body, send: Send) -> None:
        self._body = body
        self._send = send
        self._hangs_up = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and not self._body.is_complete:
            self._hangs_up = True
            message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
        is_last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if not (self._hangs_up and is_last):
            await self._send(message)
            return
        # The whole answer, by its length, but to the server not the end of it yet: that closes the socket.
        await self._send({**message, "more_body": True})
        await self._body.linger()
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


def _encoding_of(scope: Scope) -> str | None:
    """What the body would have to be freed of first; None when it is as it is."""
    for name, value in scope["headers"]:  # Of every request: a loop takes half the time of `Headers`.
        if name == b"content-encoding" and value.lower() != b"identity":
            return str(value.decode("latin-1"))
    return None


def _replaying(body: bytes, receive: Receive) -> Receive:
    """What has been read already, and then whatever comes."""
    is_read = False

    async def replaying() -> Message:
        nonlocal is_read
        if is_read:
            return await receive()
        is_read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replaying
