"""A route without FastAPI between the request and its handler."""

from __future__ import annotations

from fastapi import Request
from starlette.types import Receive, Scope, Send

from app.api.call_route import CallRoute


class DirectRoute(CallRoute):
    """For a handler that takes the request alone and gives the response: FastAPI describes it, and no more.

    Its ways to parameters, dependencies and response models are a fifth of the time of `POST /ingest`. What
    the handler raises is answered as everywhere, by the application's own handlers.
    """

    async def respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the handler, and send what it answers."""
        response = await self.endpoint(Request(scope, receive, send))
        await response(scope, receive, send)
