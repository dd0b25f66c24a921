"""Bounds the bodies of all calls but `POST /ingest`, which counts its own."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.errors import problem
from app.errors import PayloadTooLarge

#: A search has at most 8,000 characters.
LIMIT_BYTES = 256 * 1024

COUNTED_ELSEWHERE = "/ingest"


class BodyLimit:
    """ASGI middleware: a body over the limit is answered 413, and no more of it is read."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == COUNTED_ELSEWHERE:
            await self.app(scope, receive, send)
            return
        body = bytearray()
        while len(body) <= LIMIT_BYTES:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body", False):
                await self.app(scope, _replaying(bytes(body), receive), send)
                return
        await problem(PayloadTooLarge(LIMIT_BYTES))(scope, receive, send)


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
