# Made from asynchronous/connection.py by `python -m app.client.making`: change that one.
"""Sends calls, and sends them again where that can help and does no harm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import httpx

from app.client.answers import Answer
from app.client.calls import NOT_SENT, Call, Parts, decoded, error_of, is_done_later, transport_error
from app.client.errors import NotSendable, ServerUnreachable, SluiceError
from app.client.retries import UNKNOWN, Retries
from app.client.settings import ClientSettings
from app.client.synchronous.listening import listen
from app.client.synchronous.waiting import sleep

AnswerT = TypeVar("AnswerT", bound=Answer)

CONNECT_TIMEOUT_S = 5.0

#: The server closes a connection that was idle for 5 s; one that it is just closing must not be taken.
KEEP_ALIVE_S = 2.0


class Connection:
    """A pool of connections to one server, with the rules for sending again.

    Args:
        settings: Where it is.
        retries: How often, and how soon.
        timeout_s: How long the server may be silent in the middle of a call.
        on_pause: Told why, and for how many seconds, before each pause.
    """

    def __init__(
        self,
        settings: ClientSettings,
        *,
        retries: Retries,
        timeout_s: float,
        on_pause: Callable[[SluiceError, float], None] | None = None,
    ) -> None:
        self.url = settings.url
        self.retries = retries
        self._on_pause = on_pause
        self._was_reached = retries.wait_for_server
        self.http = httpx.Client(
            base_url=settings.url,
            headers={"authorization": f"Bearer {settings.api_key}"} if settings.api_key else {},
            timeout=httpx.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s)),
            limits=httpx.Limits(keepalive_expiry=KEEP_ALIVE_S),
            trust_env=not settings.is_local,
        )
        listen(self.http)

    def close(self) -> None:
        self.http.close()

    def get(self, kind: type[AnswerT], call: Call) -> AnswerT:
        """The answer to a call as a value.

        Raises:
            SluiceError: See `send`.
        """
        return decoded(kind, self.send(call))

    def send(self, call: Call) -> httpx.Response:
        """The answer to a call, read to its end.

        Raises:
            ServerUnreachable, ConnectionLost, AnswerTooLate: As often as it was tried.
            NotSendable: It cannot be sent at all.
            SluiceError: The server refuses; `after_lost_answer` tells whether it may have done it before.
        """
        with call.body() as body:
            tries, is_lost = 0, False
            while True:
                tries += 1
                try:
                    response = self._answered(call, body)
                except httpx.TransportError as error:
                    told = transport_error(error, call, self.url)
                    is_lost = is_lost or not isinstance(error, NOT_SENT)
                    goes_on = self._may_repeat(told, is_repeatable=call.is_repeatable)
                    cause: Exception | None = error
                else:
                    refused = error_of(response, call)
                    if refused is None:
                        return response
                    told, cause = refused, None
                    is_unknown = response.status_code in UNKNOWN
                    goes_on = is_done_later(told) or (is_unknown and call.is_repeatable)
                    told.after_lost_answer = is_lost
                    is_lost = is_lost or is_unknown
                pause_s = self.retries.pause_s(tries, asked_s=told.retry_after_s) if goes_on else None
                if pause_s is None:
                    raise told from cause
                self.pause(pause_s, told)

    def _answered(self, call: Call, body: Parts) -> httpx.Response:
        response = self.http.send(call.request(self.http, body))
        self._was_reached = True
        return response

    def _may_repeat(self, error: SluiceError, *, is_repeatable: bool) -> bool:
        if isinstance(error, NotSendable):
            return False
        if isinstance(error, ServerUnreachable):
            return self._was_reached
        return is_repeatable

    @contextmanager
    def streamed(self, call: Call) -> Iterator[httpx.Response]:
        """The answer to a call while it comes; tried once, as only the caller knows how to go on.

        Raises:
            SluiceError: As `send` does; also inside the block, when the answer breaks off.
        """
        try:
            with call.body() as body:
                response = self.http.send(call.request(self.http, body), stream=True)
                try:
                    self._was_reached = True
                    if not response.is_success:
                        response.read()
                        refused = error_of(response, call)
                        if refused is not None:
                            raise refused
                    yield response
                finally:
                    response.close()
        except httpx.TransportError as error:
            raise transport_error(error, call, self.url) from error

    def pause(self, pause_s: float, error: SluiceError | None) -> None:
        """Wait before a call is sent again, because of an error if it has one as a whole."""
        if self._on_pause is not None and error is not None:
            self._on_pause(error, pause_s)
        sleep(pause_s)

    def pause_s(self, tries: int, error: SluiceError | None) -> float | None:
        """How long to wait before a streamed call is begun again; None when that is no use.

        Args:
            tries: That have failed one after the other.
            error: Of the last one; None when only parts of it failed.
        """
        if error is None:
            return self.retries.pause_s(tries)
        if not error.retryable or not self._may_repeat(error, is_repeatable=True):
            return None
        return self.retries.pause_s(tries, asked_s=error.retry_after_s)
