"""Lets in who has a key, where the settings name keys."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

from pydantic import SecretStr
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.errors import problem
from app.errors import Unauthorized

#: What load balancers ask, who have no key; their answers say nothing about documents.
OPEN_PATHS = frozenset({"/healthz", "/readyz"})

#: One line for each, as some browsers know only the first of a line. For `Basic` they ask their user, who
#: gives the key for a password, and then send it with all that a page asks for.
CHALLENGES = ('Bearer realm="Sluice"', 'Basic realm="Sluice", charset="UTF-8"')


class ApiKeys:
    """ASGI middleware: a call without one of the keys is answered 401.

    A key comes as `Authorization: Bearer`, or as the password of `Authorization: Basic` (RFC 6750, RFC 7617).
    """

    def __init__(self, app: ASGIApp, keys: Sequence[SecretStr]) -> None:
        self.app = app
        self._digests = [_digest(key.get_secret_value().encode()) for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self.app(scope, receive, send)
            return
        said = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        if self._is_known(key_of(said)):
            await self.app(scope, receive, send)
            return
        answer = problem(Unauthorized(was_given=bool(said)))
        for challenge in CHALLENGES:
            answer.headers.append("WWW-Authenticate", challenge)
        await answer(scope, receive, send)

    def _is_known(self, key: bytes) -> bool:
        # By digests, so that the time which it takes does not tell how much of a key is right.
        given = _digest(key)
        return any(hmac.compare_digest(given, digest) for digest in self._digests)


def key_of(authorization: bytes) -> bytes:
    """The key in a header; empty when there is none in it."""
    scheme, _, rest = authorization.strip().partition(b" ")
    rest = rest.strip()
    if scheme.lower() == b"bearer":
        return rest
    if scheme.lower() == b"basic":
        try:
            return base64.b64decode(rest, validate=True).partition(b":")[2]
        except binascii.Error:
            pass
    return b""


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
