"""Sends from the API without ever waiting for a stalled Redis."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Self
from uuid import UUID

import structlog

from app.models import backlog

log = structlog.get_logger(__name__)

#: How long an accept waits for its send. Its row is committed: the reconciler sends what this does not.
PATIENCE_S = 0.5

#: So many are sent in one round trip, at the most.
GROUP = 256


@dataclass(eq=False, slots=True)
class _Ring:
    """A committed document's id on its way into the queue; `is_sent` is told how that ended."""

    send: Callable[[str], object]
    document_id: UUID
    is_sent: asyncio.Future[bool] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Doorbell:
    """Sends from a thread of its own, and leaves to the reconciler what it cannot send.

    One group is on its way at any time, and what is rung meanwhile makes the next: a lone document is sent at
    once, and many cost one round trip together. A stalled Redis blocks a send until its socket times out;
    as soon as one has waited in vain, others give up at once, until that send has ended.

    Args of the constructor:
        together: In its block, what this thread sends is held; at its end, all of it is sent at once.
    """

    def __init__(self, together: Callable[[], AbstractContextManager[object]]) -> None:
        self._together = together
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="doorbell")
        self._waiting: deque[_Ring] = deque()
        self._sending: asyncio.Task[None] | None = None
        self._is_stalled = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._sending is not None:
            self._sending.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def ring(self, send: Callable[[str], object], document_id: UUID) -> None:
        """Have a committed document's id sent, or noted as unsent; never fails for the queue's sake."""
        await self.ring_all(send, [document_id])

    async def ring_all(self, send: Callable[[str], object], document_ids: Sequence[UUID]) -> None:
        """Have many committed ids sent; likewise."""
        rings = [_Ring(send, document_id) for document_id in document_ids]
        if not self._is_stalled or self._sending is None:
            await self._sent_or_late(rings)
        unsent = [ring.document_id for ring in rings if not (ring.is_sent.done() and ring.is_sent.result())]
        if unsent:
            await backlog.put_back_unsent(unsent)

    async def _sent_or_late(self, rings: Sequence[_Ring]) -> None:
        self._waiting.extend(rings)
        if self._sending is None:
            self._sending = asyncio.create_task(self._send_waiting())
        _, late = await asyncio.wait([ring.is_sent for ring in rings], timeout=PATIENCE_S)
        if late:
            self._is_stalled = True
            log.warning("queue_slow", documents=len(late))
            for is_sent in late:
                is_sent.set_result(False)

    async def _send_waiting(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while group := self._next_group():
                outcomes = await loop.run_in_executor(self._thread, self._send, group)
                for ring, is_sent in zip(group, outcomes, strict=True):
                    if not ring.is_sent.done():
                        ring.is_sent.set_result(is_sent)
        finally:
            self._sending = None

    def _next_group(self) -> list[_Ring]:
        """Of those whose request still waits."""
        group: list[_Ring] = []
        while self._waiting and len(group) < GROUP:
            ring = self._waiting.popleft()
            if not ring.is_sent.done():
                group.append(ring)
        return group

    def _send(self, group: Sequence[_Ring]) -> list[bool]:
        """In the thread: send them together, and say of each whether it was sent."""
        errors: list[Exception | None] = []
        try:
            with self._together():
                errors += [_error(ring) for ring in group]
        except Exception as error:  # None of them has arrived, or nobody knows.
            errors = [error] * len(group)
        for reason in {str(error) for error in errors if error is not None}:
            log.warning("queue_unreachable", documents=len(group), error=reason)
        if None in errors:
            self._is_stalled = False
        return [error is None for error in errors]


def _error(ring: _Ring) -> Exception | None:
    try:
        ring.send(str(ring.document_id))
    except Exception as error:
        return error
    return None
