"""Lets in who has a key, where the settings name keys, and notes what the key opens."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence
from functools import partial

from pydantic import SecretStr
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.access import FULL_ACCESS, Access
from app.api.errors import problem
from app.api.rights import refusal
from app.core.database import database_error
from app.errors import ServiceError, Unauthorized
from app.models.api_key import digest_of
from app.services.key_service import KeyService, is_of_ours

#: What load balancers ask, who have no key; their answers say nothing about documents.
OPEN_PATHS = frozenset({"/healthz", "/readyz"})


class ApiKeys:
    """ASGI middleware: a call without a key is answered 401, one that its key does not open 403.

    A key comes as `Authorization: Bearer`, or as the password of `Authorization: Basic` (RFC 6750, RFC 7617).
    It is one of `keys`, or one that was made with one of them. With no `keys`, everybody is let in.
    """

    def __init__(self, app: ASGIApp, keys: Sequence[SecretStr]) -> None:
        self.app = app
        self._digests = [digest_of(key.get_secret_value().encode()) for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                scope.setdefault("state", {})["access"] = await self._let_in(scope)
            except ServiceError as error:
                await problem(error)(scope, receive, send)
                return
        await self.app(scope, receive, send)

    async def _let_in(self, scope: Scope) -> Access:
        """What the caller's key opens.

        Raises:
            Unauthorized: There is none, or it opens nothing.
            Forbidden: It does not open this.
            DatabaseUnavailable, DatabaseBusy: It cannot be looked up.
        """
        if not self._digests or scope["path"] in OPEN_PATHS:
            return FULL_ACCESS
        said = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        key = key_of(said)
        digest = digest_of(key)
        if self._is_of_the_settings(digest):
            return FULL_ACCESS
        access = await _access(digest, scope["app"].state.resources.keys) if is_of_ours(key) else None
        if access is None:
            raise Unauthorized(was_given=bool(said))
        if refused := refusal(scope, access.reach):
            raise refused
        return access

    def _is_of_the_settings(self, given: bytes) -> bool:
        # By digests, so that the time which it takes does not tell how much of a key is right.
        return any(hmac.compare_digest(given, digest) for digest in self._digests)


async def _access(digest: bytes, keys: KeyService) -> Access | None:
    try:
        verdict = await keys.verdict(digest)
    except Exception as error:
        told = database_error(error)
        if told is None:
            raise
        raise told from error
    if verdict.reach is None:
        return None
    return Access(verdict.reach, until=verdict.until, look=partial(keys.verdict, digest))


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
