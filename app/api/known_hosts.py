"""Keeps pages from reaching an open service through a name of their own."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.errors import problem
from app.errors import HostUnknown

#: Lets any name pass.
ANY = "*"


class KnownHosts:
    """ASGI middleware for a service without keys: a call to a name that is nobody's here is answered 421.

    A page may have its own name lead to this machine's address once it is loaded (DNS rebinding), and then it
    is of the same origin as the service that it finds there. So the name has to be one that others cannot
    have: an address, `localhost`, a name without a dot, or one of `names`.
    """

    def __init__(self, app: ASGIApp, names: Sequence[str]) -> None:
        self.app = app
        self._names = frozenset(name.lower() for name in names)
        self._is_known = lru_cache(maxsize=256)(self._is_known_host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            host = next((value for name, value in scope["headers"] if name == b"host"), b"")
            if not self._is_known(host):
                await problem(HostUnknown(name_of(host)))(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _is_known_host(self, host: bytes) -> bool:
        name = name_of(host)
        return (
            "." not in name  # Also none at all, which a browser always sends.
            or name.endswith(".localhost")
            or ANY in self._names
            or name in self._names
            or _is_address(name)
        )


def name_of(host: bytes) -> str:
    """A `Host` header without its port."""
    name = host.decode("latin-1").lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0].rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
