"""Sends from the API, without a request ever waiting for Redis."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Self
from uuid import UUID

import structlog

from app.core.broker import DoorbellBroker, HeldMessage
from app.models import backlog

log = structlog.get_logger(__name__)

#: How long a send may take. Then the queue counts as stalled, and the reconciler sends what this does not.
PATIENCE_S = 0.5

#: From one send to the next, and so much more for each document that it had, up to an end. A lone one waits
#: for none. Under load many share a send: its thread keeps the requests from the interpreter.
PAUSE_S, PAUSE_EACH_S, PAUSE_AT_MOST_S = 0.02, 0.002, 0.1

#: So many documents are sent in one round trip, at the most; the rest has no pause before it.
GROUP = 256


class _Ring(NamedTuple):
    """A committed document, and its message on the way into the queue."""

    document_id: UUID
    messages: Sequence[HeldMessage]


class Doorbell:
    """Sends from a thread of its own, and notes as unsent what it cannot send, for the reconciler.

    One group is on its way at any time, and what is rung meanwhile, and a moment after, makes the next: a
    lone document is sent at once, and many cost one round trip together. A stalled Redis blocks a send until
    its socket times out: until then, whatever is rung counts as unsent at once.
    """

    def __init__(self, broker: DoorbellBroker) -> None:
        self._broker = broker
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="doorbell")
        self._waiting: deque[_Ring] = deque()
        self._sending: asyncio.Task[None] | None = None
        self._is_stalled = False
        self.unsent = 0  # Documents that Redis has not been told of, since this process began.

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Let what has been rung be sent, if that takes no longer than it may."""
        if (sending := self._sending) is not None:
            await asyncio.wait({sending}, timeout=2 * PATIENCE_S)
            sending.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def ring(
        self, send: Callable[[str], object], document_id: UUID, *, message_id: str | None = None
    ) -> None:
        """Have a committed document's id sent, or noted as unsent; never fails for the queue's sake.

        Args:
            send: An actor's.
            document_id: Its one argument.
            message_id: See `DoorbellBroker.held`.
        """
        await self.ring_all(send, {document_id: message_id})

    async def ring_all(self, send: Callable[[str], object], queued: Mapping[UUID, str | None]) -> None:
        """Have many committed ids sent, with what their messages are called; likewise."""
        unsent = [
            document_id
            for document_id, message_id in queued.items()
            if self._is_stalled or not self._is_written(send, document_id, message_id)
        ]
        if self._waiting and self._sending is None:
            self._sending = asyncio.create_task(self._send_waiting())
        if unsent:
            await self._note_unsent(unsent)

    def _is_written(self, send: Callable[[str], object], document_id: UUID, message_id: str | None) -> bool:
        """Write the document's message, which `send` does without a word to Redis while messages are held."""
        try:
            with self._broker.held(message_id=message_id) as messages:
                send(str(document_id))
        except Exception as error:
            log.warning("message_not_written", document_id=str(document_id), error=str(error))
            return False
        self._waiting.append(_Ring(document_id, messages))
        return True

    async def _send_waiting(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while group := self._next_group():
                began_at = loop.time()
                if not await self._is_sent([message for ring in group for message in ring.messages]):
                    await self._note_unsent([ring.document_id for ring in group])
                if len(group) < GROUP:
                    pause_s = min(PAUSE_S + PAUSE_EACH_S * len(group), PAUSE_AT_MOST_S)
                    await asyncio.sleep(began_at + pause_s - loop.time())
        finally:
            self._sending = None

    def _next_group(self) -> list[_Ring]:
        return [self._waiting.popleft() for _ in range(min(GROUP, len(self._waiting)))]

    async def _is_sent(self, messages: Sequence[HeldMessage]) -> bool:
        loop = asyncio.get_running_loop()
        sending = loop.run_in_executor(self._thread, self._broker.enqueue_all, messages)
        if not (await asyncio.wait({sending}, timeout=PATIENCE_S))[0]:
            await self._sit_out(sending)
        if (error := sending.exception()) is not None:
            log.warning("queue_unreachable", documents=len(messages), error=str(error))
        return error is None

    async def _sit_out(self, sending: asyncio.Future[None]) -> None:
        """Wait for the end of a send that takes too long; the others have nothing to wait for."""
        self._is_stalled = True
        log.warning("queue_slow")
        try:
            waiting, self._waiting = self._waiting, deque()
            await self._note_unsent([ring.document_id for ring in waiting])
            await asyncio.wait({sending})
        finally:
            self._is_stalled = False

    async def _note_unsent(self, document_ids: Sequence[UUID]) -> None:
        self.unsent += len(document_ids)
        try:
            await backlog.put_back_unsent(document_ids)
        except Exception as error:  # Then they count as lost in a while, and are sent all the same.
            log.warning("unsent_not_noted", documents=len(document_ids), error=str(error))
