"""Keeps the pages of others from using a visitor's browser to change what is here."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.errors import problem
from app.errors import CrossOrigin

#: These change nothing, and browsers let no other page read their answers.
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

#: What a browser says of a call by the page's own script, and of one that no page has caused.
OWN_SITES = frozenset({b"same-origin", b"none"})

TELLING = frozenset({b"sec-fetch-site", b"origin", b"host"})


class SameOrigin:
    """ASGI middleware: a call that changes something, and comes from another's page, is answered 403.

    A form on any page may be sent to any address without asking first, also to a service that listens on
    the loopback interface alone. Browsers say where a call comes from, in `Sec-Fetch-Site` or at least in
    `Origin`; programs say neither, and pass.

    Source:
        `http.CrossOriginProtection` of Go's standard library, whose rules these are.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        changes = scope["type"] == "http" and scope["method"] not in SAFE_METHODS
        if changes and is_of_another_page(said := _said(scope)):
            origin = said.get(b"origin", b"").decode("latin-1")
            await problem(CrossOrigin(origin or None))(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def is_of_another_page(said: Mapping[bytes, bytes]) -> bool:
    """Whether a page has caused this call that is not of this service, by what its headers say."""
    site = said.get(b"sec-fetch-site")
    if site is not None:
        return site not in OWN_SITES
    origin = said.get(b"origin")  # Of browsers on plain HTTP, where the other header is not sent.
    return origin is not None and _host_of(origin) != said.get(b"host")


def _said(scope: Scope) -> Mapping[bytes, bytes]:
    # Read once, and not decoded: it is done for each document that comes.
    return {name: value for name, value in scope["headers"] if name in TELLING}


def _host_of(origin: bytes) -> bytes:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return b""
