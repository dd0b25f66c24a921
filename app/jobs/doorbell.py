"""Sends from the API without ever waiting for a stalled Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Self
from uuid import UUID

import structlog

from app.models import backlog

log = structlog.get_logger(__name__)

#: How long an accept waits for its send. Its row is committed: the reconciler sends what this does not.
PATIENCE_S = 0.5
SENDERS = 4


class Doorbell:
    """Runs sends in a few threads of its own, and leaves to the reconciler what it cannot send.

    A stalled Redis blocks a send until its socket times out. Then all threads are busy, and `ring` gives up
    at once instead of queueing behind them.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(SENDERS, thread_name_prefix="doorbell")
        self._under_way = 0
        self._is_stalled = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def ring(self, send: Callable[[str], object], document_id: UUID) -> None:
        """Have a committed document's id sent, or noted as unsent; never fails for the queue's sake."""
        if not await self._is_sent(send, str(document_id)):
            await backlog.put_back_unsent([document_id])

    async def ring_all(self, send: Callable[[str], object], document_ids: Sequence[UUID]) -> None:
        """Have many committed ids sent, one after the other in one thread; likewise."""
        sent = 0

        def send_all(_: str) -> None:
            nonlocal sent
            enough_at = time.monotonic() + 2 * PATIENCE_S
            for document_id in document_ids:
                if time.monotonic() > enough_at:
                    return
                send(str(document_id))
                sent += 1

        await self._is_sent(send_all, f"{document_ids[0]} and others", patience_s=3 * PATIENCE_S)
        if left := document_ids[sent:]:
            await backlog.put_back_unsent(left)

    async def _is_sent(
        self, send: Callable[[str], object], document_id: str, *, patience_s: float = PATIENCE_S
    ) -> bool:
        if self._is_stalled and self._under_way >= SENDERS:
            return False
        self._under_way += 1
        sending = asyncio.get_running_loop().run_in_executor(self._threads, send, document_id)
        sending.add_done_callback(self._ended)
        done, _ = await asyncio.wait({sending}, timeout=patience_s)
        if not done:
            self._is_stalled = True
            log.warning("queue_slow", document_id=document_id)
            return False
        if (error := sending.exception()) is not None:
            log.warning("queue_unreachable", document_id=document_id, error=str(error))
            return False
        return True

    def _ended(self, sending: asyncio.Future[object]) -> None:
        self._under_way -= 1
        if not sending.cancelled() and sending.exception() is None:
            self._is_stalled = False
