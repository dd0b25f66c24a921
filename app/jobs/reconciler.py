"""Makes good what was lost between the database and the queue, from within every worker process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import UUID

import redis
import structlog

from app.core.database import UNREACHABLE
from app.models.document import Document

log = structlog.get_logger(__name__)

#: How many documents one sweep takes in hand.
BATCH = 500


class Reconciler:
    """Sweeps the table: dead leases go back, and documents whose message is missing get another.

    Args of the constructor:
        send: Puts a document's id into the queue; synchronous, as Dramatiq's is.
        queue_length: How many messages wait there.
        every_s: Seconds from one sweep to the next.
    """

    def __init__(
        self, *, send: Callable[[str], object], queue_length: Callable[[], int], every_s: float
    ) -> None:
        self._send = send
        self._queue_length = queue_length
        self._every_s = every_s

    async def run(self) -> None:
        """Sweep until cancelled; a failed sweep is told and made good by the next."""
        while True:
            try:
                await self.sweep()
            except redis.RedisError as error:
                log.warning("queue_unreachable", error=str(error))
            except UNREACHABLE as error:
                log.warning("database_unreachable", error=str(error))
            except Exception:
                log.exception("sweep_failed")
            await asyncio.sleep(self._every_s)

    async def sweep(self) -> None:
        """One pass over what is overdue."""
        for document_id in await Document.reap(limit=BATCH):
            log.warning("lease_expired", document_id=str(document_id))
        # While the queue is long, a document that waits is no sign of a lost message, and more messages would
        # only make it longer.
        is_short = await asyncio.to_thread(self._queue_length) < BATCH
        await self._send_again(await Document.take_unsent(limit=BATCH, late_too=is_short))

    async def _send_again(self, document_ids: list[UUID]) -> None:
        sent = await asyncio.to_thread(self._send_all, document_ids)
        if sent:
            log.info("sent_again", documents=sent)
        if sent < len(document_ids):
            await Document.put_back_unsent(document_ids[sent:])

    def _send_all(self, document_ids: list[UUID]) -> int:
        for sent, document_id in enumerate(document_ids):
            try:
                self._send(str(document_id))
            except redis.RedisError as error:
                log.warning("queue_unreachable", error=str(error))
                return sent
        return len(document_ids)
