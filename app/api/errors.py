"""The one table from errors to HTTP, and the shape they take there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from itertools import chain
from typing import Any

import asyncpg
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Match
from tortoise.exceptions import BaseORMException

from app import errors
from app.api.meant import meant
from app.core.database import BROKEN, database_error
from app.schemas.problem import InvalidField, Problem
from app.storage.files import storage_error

log = structlog.get_logger(__name__)

STATUS: dict[type[errors.ServiceError], HTTPStatus] = {
    errors.DocumentNotFound: HTTPStatus.NOT_FOUND,
    errors.CollectionNotFound: HTTPStatus.NOT_FOUND,
    errors.CollectionBusy: HTTPStatus.CONFLICT,
    errors.CollectionDeleting: HTTPStatus.CONFLICT,
    errors.BatchNotFound: HTTPStatus.NOT_FOUND,
    errors.TooManyItems: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.UnsupportedMember: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.CorruptFile: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.BatchInterrupted: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.InvalidRequest: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.IdempotencyKeyReused: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.EmptyFile: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.UnknownBodyType: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.UnsupportedMediaType: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.PayloadTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.RequestTooSlow: HTTPStatus.REQUEST_TIMEOUT,
    errors.Unauthorized: HTTPStatus.UNAUTHORIZED,
    errors.Forbidden: HTTPStatus.FORBIDDEN,
    errors.CrossOrigin: HTTPStatus.FORBIDDEN,
    errors.HostUnknown: HTTPStatus.MISDIRECTED_REQUEST,
    errors.KeyNotFound: HTTPStatus.NOT_FOUND,
    errors.TooManyKeys: HTTPStatus.CONFLICT,
    errors.OpenToAll: HTTPStatus.CONFLICT,
    errors.EmbedderMissing: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.RerankerMissing: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.RerankerUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.NotSearchable: HTTPStatus.CONFLICT,
    errors.VersionReplaced: HTTPStatus.CONFLICT,
    errors.PreconditionFailed: HTTPStatus.PRECONDITION_FAILED,
    errors.RangeNotSatisfiable: HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
    errors.EventsExpired: HTTPStatus.GONE,
    errors.WebhookNotFound: HTTPStatus.NOT_FOUND,
    errors.WebhookDisabled: HTTPStatus.CONFLICT,
    errors.DeliveryNotFound: HTTPStatus.NOT_FOUND,
    errors.TooManyWebhooks: HTTPStatus.CONFLICT,
    errors.AddressRefused: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.ContentMissing: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.EmbedderRefused: HTTPStatus.BAD_GATEWAY,
    errors.EmbedderUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.ModelUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.DatabaseUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.DatabaseBusy: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.DatabaseFull: HTTPStatus.INSUFFICIENT_STORAGE,
    errors.StorageUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.StorageFull: HTTPStatus.INSUFFICIENT_STORAGE,
}

RETRY_AFTER_S = "5"

#: How a key is sent. One line for each, as some browsers know only the first of a line. For `Basic` they ask
#: their user, who gives the key for a password, and then send it with all that a page asks for.
CHALLENGES = ('Bearer realm="Sluice"', 'Basic realm="Sluice", charset="UTF-8"')

#: A client that sends a hundred thousand mistakes, or one with a name of megabytes, is not told them all.
MAX_TOLD_PLACES = 20
MAX_TOLD_CHARS = 100


def register_error_handlers(app: FastAPI) -> None:
    """Make every error of the app a problem+json answer."""
    app.add_exception_handler(errors.ServiceError, _service_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(ClientDisconnect, _client_gone)
    app.add_exception_handler(Exception, _unforeseen)
    for kind in (asyncpg.PostgresError, *BROKEN, BaseORMException, OSError):
        app.add_exception_handler(kind, _fault_of_the_surroundings)


def status_of(kind: type[errors.ServiceError]) -> HTTPStatus:
    """What an error is in HTTP: its own line in the table, or its parent's."""
    return next(
        (STATUS[parent] for parent in kind.__mro__ if parent in STATUS), HTTPStatus.INTERNAL_SERVER_ERROR
    )


def problem(
    error: errors.ServiceError, *, invalid: list[InvalidField] | None = None, status: int | None = None
) -> JSONResponse:
    """The answer that tells of `error`."""
    code = HTTPStatus(status or status_of(type(error)))
    body = Problem(
        title=code.phrase,
        status=code,
        detail=str(error),
        code=error.code,
        retryable=error.retryable,
        hint=error.hint,
        errors=invalid,
    )
    answer = JSONResponse(
        body.model_dump(exclude_none=True),
        status_code=code,
        media_type="application/problem+json",
        headers={"Retry-After": RETRY_AFTER_S} if error.retryable else None,
    )
    for challenge in CHALLENGES if code == HTTPStatus.UNAUTHORIZED else ():
        answer.headers.append("WWW-Authenticate", challenge)
    return answer


async def _service_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, errors.ServiceError)
    return problem(error)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    # Only routes of the API have the names (app/api/call_route.py).
    told, places = invalid_request(error, getattr(request.scope.get("route"), "body_fields", ()))
    return problem(told, invalid=places)


def invalid_request(
    error: RequestValidationError, fields: Sequence[str] = ()
) -> tuple[errors.InvalidRequest, list[InvalidField]]:
    """What is wrong, as a sentence and place by place.

    Args:
        error: What pydantic found.
        fields: That the body may have, to name the one that is meant by another.
    """
    places = [
        InvalidField(
            pointer=_pointer(found["loc"]),
            detail=_plain(found, fields),
        )
        for found in error.errors()[:MAX_TOLD_PLACES]
    ]
    told = "; ".join(f"{place.pointer}: {place.detail}" for place in places)
    return errors.InvalidRequest(f"The request is wrong: {told}."), places


def _pointer(place: Sequence[str | int]) -> str:
    """Into the body, or the name of a parameter; without pydantic's own words for the kind of a part."""
    parts = [str(part) for part in place if part != "body"]
    return "/" + "/".join(part[:MAX_TOLD_CHARS] for part in parts if part[:1] + part[-1:] != "<>")


#: In place of pydantic's words, which speak of Python.
WORDS = {
    "extra_forbidden": "there is no such field",
    "model_attributes_type": "must be a JSON object, sent with `Content-Type: application/json`",
    "missing": "is missing",
    "dict_type": "must be a JSON object",
    "datetime_from_date_parsing": "must be a date or a time, like 2026-11-24 or 2026-11-24T09:00:00Z",
}

#: Likewise, for lengths. What it calls a value has been through a check of ours before, as only texts are.
LENGTH = re.compile(r"(\w+) should have (at \w+ \d+) items? after validation, not .*")


def _plain(found: Mapping[str, Any], fields: Sequence[str]) -> str:
    place = [part for part in found["loc"] if part != "body"]
    if found["type"] == "extra_forbidden" and len(place) == 1 and (field := meant(str(place[0]), fields)):
        return f"{WORDS['extra_forbidden']}; did you mean `{field}`?"
    if found["type"] in WORDS:
        return WORDS[found["type"]]
    message: str = found["msg"]
    if found["type"] in {"too_short", "string_too_short"} and " at least 1 " in message:
        return "must not be empty"
    if length := LENGTH.fullmatch(message):
        return f"must have {length[2]} {'characters' if length[1] == 'Value' else 'items'}"
    return message.removeprefix("Value error, ").removeprefix("Assertion failed, ")


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.BAD_REQUEST:  # FastAPI's word for a body that is no text at all.
        return problem(errors.MalformedBody("The body cannot be read as JSON."))
    told = error.detail
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED and (methods := _methods_of(request)):
        headers["Allow"] = ", ".join(methods)
        told = f"{request.method} is not possible here, but {_listed(methods)}."
    refused = errors.InvalidRequest(told)
    answer = problem(refused, status=error.status_code)
    answer.headers.update(headers)
    return answer


def _methods_of(request: Request) -> list[str]:
    """What is possible at a path: each route knows its own methods only, and many share one."""
    routes = (route for route in request.app.routes if route.matches(request.scope)[0] is Match.PARTIAL)
    methods = (sorted(getattr(route, "answered", route.methods)) for route in routes)
    return list(dict.fromkeys(chain.from_iterable(methods)))


def _listed(words: Sequence[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} and {last} are" if others else f"{last} is"


async def _client_gone(_: Request, error: Exception) -> Response:
    del error  # Nobody is there to be told.
    return Response(status_code=HTTPStatus.BAD_REQUEST)


async def _fault_of_the_surroundings(_: Request, error: Exception) -> JSONResponse:
    told = database_error(error)
    if told is None and isinstance(error, OSError):
        told = storage_error(error)  # What is left of files and sockets is a lack: of space, of descriptors.
    if told is None:
        raise error  # Not of the surroundings: ours.
    log.warning(told.code, error=str(error) or type(error).__name__, error_type=type(error).__name__)
    return problem(told)


async def _unforeseen(request: Request, error: Exception) -> JSONResponse:
    # With no traceback: Starlette raises it again for the server, which logs it.
    log.error("request_failed", method=request.method, path=request.url.path, error=type(error).__name__)
    return problem(errors.RequestFailed())
