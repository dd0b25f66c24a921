"""A call on its way out, and what its answer says; without sending anything."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from time import time
from typing import Any, Protocol, TypeVar
from uuid import UUID

import httpx
from pydantic import ValidationError

from app.client.answers import Answer
from app.client.errors import (
    AnswerTooLate,
    ConnectionLost,
    Forbidden,
    NotSendable,
    PermanentError,
    ServerUnreachable,
    SluiceError,
    TooManyRequests,
    TransientError,
    Unauthorized,
    UnexpectedAnswer,
    of_code,
)
from app.client.retries import NOT_DONE

AnswerT = TypeVar("AnswerT", bound=Answer)

#: Nothing has been sent when one of these is raised.
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)

#: What an answer without a problem in it means, where nobody but the server or a proxy could have said it.
BY_STATUS: Mapping[int, type[SluiceError]] = {
    401: Unauthorized,
    403: Forbidden,
    429: TooManyRequests,
    502: TransientError,
    503: TransientError,
    504: TransientError,
}


class Parts(Protocol):
    """What makes a body."""

    def parts(self) -> dict[str, Any]:
        """`content`, `json`, or `data` and `files`, for httpx; the same at every try."""


class Prepared:
    """A body that is in memory, or none."""

    def __init__(self, **parts: Any) -> None:
        self._parts = parts

    def parts(self) -> dict[str, Any]:
        return dict(self._parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of the API.

    Args:
        body: Opens the body; it stays open over all tries.
        is_repeatable: Whether it may be sent again when its answer got lost.
        patience_s: How long the server may take, on top of what every answer may.
        document_id: That it is about, for its errors.
    """

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Callable[[], AbstractContextManager[Parts]] = lambda: nullcontext(Prepared())
    is_repeatable: bool = True
    patience_s: float = 0
    document_id: UUID | str | None = None

    def request(self, client: httpx.Client | httpx.AsyncClient, body: Parts) -> httpx.Request:
        """For one try.

        Raises:
            NotSendable: There is something in it that HTTP or UTF-8 does not have.
        """
        try:
            parts = body.parts()
            headers = {**self.headers, **parts.pop("headers", {})}
            timeout = client.timeout.as_dict()
            timeout["read"] = (timeout["read"] or 0) + self.patience_s
            return client.build_request(
                self.method,
                self.path,
                params={name: _param(value) for name, value in self.params.items() if value is not None},
                headers=headers,
                timeout=httpx.Timeout(**timeout),
                **parts,
            )
        except (UnicodeError, ValueError, TypeError) as error:
            raise NotSendable(f"{self.path} cannot be sent: {error}.", hint="") from error


def json_body(value: Any) -> Callable[[], AbstractContextManager[Parts]]:
    """For `Call.body`."""
    return lambda: nullcontext(Prepared(json=value))


def listed(given: Sequence[Any] | UUID | None) -> list[Any] | None:
    """Names or ids; a string is one of them: its letters would be another question, silently."""
    if given is None:
        return None
    return [given] if isinstance(given, str | UUID) else list(given)


def _param(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple | set | frozenset):
        return [_param(each) for each in value]
    return str(value) if isinstance(value, UUID) else value


# --- What came back ----------------------------------------------------------------------------------------


def decoded(kind: type[AnswerT], response: httpx.Response, **more: Any) -> AnswerT:
    """The answer as a value.

    Raises:
        UnexpectedAnswer: It is not what Sluice answers.
    """
    try:
        if more:
            return kind.model_validate({**response.json(), **more})
        return kind.model_validate_json(response.content)
    except (ValidationError, ValueError, TypeError) as error:
        raise UnexpectedAnswer(
            f"{response.url} answered something that is no {kind.__name__}.", status=response.status_code
        ) from error


def error_of(response: httpx.Response, call: Call) -> SluiceError | None:
    """What an answer that has been read says against the call; None when it was carried out."""
    if response.is_success or response.status_code == httpx.codes.NOT_MODIFIED:
        return None
    status = response.status_code
    try:
        problem = response.json()
        kind = of_code(problem["code"], retryable=bool(problem["retryable"]))
        return kind(
            str(problem["detail"]),
            code=problem["code"],
            hint=problem["hint"],
            status=status,
            document_id=call.document_id,
            errors=problem.get("errors"),
            retry_after_s=retry_after_s(response),
        )
    except (ValueError, KeyError, TypeError):
        kind = BY_STATUS.get(status, UnexpectedAnswer)
        is_about_the_key = issubclass(kind, Unauthorized | Forbidden)
        hint = "Check the key: `api_key` or SLUICE_API_KEY." if is_about_the_key else None
        return kind(
            f"{response.url} answered {status} {response.reason_phrase}.",
            hint=hint,
            status=status,
            document_id=call.document_id,
            retry_after_s=retry_after_s(response),
        )


def retry_after_s(response: httpx.Response) -> float | None:
    """`Retry-After`, in seconds or as a date."""
    said = response.headers.get("retry-after", "").strip()
    if not said:
        return None
    if said.isascii() and said.isdigit():
        return float(said)
    try:
        return max(parsedate_to_datetime(said).timestamp() - time(), 0)
    except ValueError:
        return None


def is_done_later(error: SluiceError) -> bool:
    """Whether the server said that nothing was done, and that it may be later."""
    return error.status in NOT_DONE and not isinstance(error, PermanentError)


def transport_error(error: httpx.TransportError, call: Call, url: str) -> SluiceError:
    """What went wrong on the way, in words of ours."""
    about = call.document_id
    if isinstance(error, httpx.LocalProtocolError):
        return NotSendable(f"The request cannot be sent as it is: {error}.", document_id=about)
    if isinstance(error, NOT_SENT):
        return ServerUnreachable(f"No Sluice answers at {url}: {_reason(error)}.", document_id=about)
    if isinstance(error, httpx.TimeoutException):
        return AnswerTooLate(f"{call.method} {call.path} was not answered in time.", document_id=about)
    return ConnectionLost(
        f"The connection was lost during {call.method} {call.path}: {_reason(error)}.", document_id=about
    )


def _reason(error: BaseException) -> str:
    """The words of the system, which are at the end of the chain."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]  # Just looked.
    if isinstance(error, OSError) and error.strerror:
        # asyncio says which address it was instead of what was wrong with it.
        if error.errno is not None and error.strerror.startswith("Connect call failed"):
            return os.strerror(error.errno)
        return error.strerror
    return str(error).rstrip(".") or type(error).__name__
