"""Makes deliveries: takes one in hand, sends it, and writes down what came of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Self
from uuid import UUID

import structlog

from app.core.database import BROKEN
from app.models import webhook_delivery
from app.models.webhook_delivery import Claimed, Delivery, Outcome
from app.services.webhook_sender import WebhookSender

log = structlog.get_logger(__name__)

#: What a process sends at the same time; and to one webhook, so that a slow one keeps nobody up.
MOST_AT_ONCE = 32
MOST_TO_ONE = 4

#: When a delivery that found no room is tried again.
NO_ROOM_S = 1.0

#: What makes the bytes of a message: of its event, None for a test.
Body = Callable[[Delivery], bytes]


class WebhookService:
    """Deliveries of one process, each a task of its own: no thread of the queue waits for a receiver.

    Args:
        sender: What sends.
        body: What makes a message.
    """

    def __init__(self, sender: WebhookSender, body: Body) -> None:
        self._sender = sender
        self._body = body
        self._to: Counter[UUID] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    async def begin(self, delivery_id: UUID) -> None:
        """Take a delivery in hand and send it in the background, if it is due and in nobody else's."""
        busy = [webhook_id for webhook_id, count in self._to.items() if count >= MOST_TO_ONE]
        has_room = len(self._tasks) < MOST_AT_ONCE
        claimed = await Delivery.claim(delivery_id, not_to=busy) if has_room else None
        if claimed is not None:
            task = asyncio.create_task(self._deliver(claimed), name="webhook")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif busy or not has_room:
            await webhook_delivery.put_back([delivery_id], for_s=NO_ROOM_S)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        # Others will send again what is being sent; its receiver knows it by its id.
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _deliver(self, claimed: Claimed) -> None:
        delivery = claimed.delivery
        self._to[delivery.webhook_id] += 1
        try:
            outcome = await self._outcome(claimed)
            told = {"webhook_id": str(delivery.webhook_id), "delivery_id": str(delivery.id)}
            if outcome.error is None:
                log.info("webhook_delivered", **told)
            else:
                log.warning("webhook_failed", error=outcome.error, failures=delivery.failures + 1, **told)
            await delivery.settle(outcome)
        except BROKEN as error:  # Its lease runs out, and it is sent again.
            log.warning("database_unreachable", error=str(error) or type(error).__name__)
        except Exception:
            log.exception("webhook_not_settled")
        finally:
            self._to[delivery.webhook_id] -= 1
            self._to += Counter()  # Without those that are at nothing.

    async def _outcome(self, claimed: Claimed) -> Outcome:
        delivery = claimed.delivery
        try:
            return await self._sender.send(
                claimed.url, secret=claimed.secret, message_id=str(delivery.id), body=self._body(delivery)
            )
        except Exception as error:  # Of ours: it counts as a failure, or it would be tried for ever.
            log.exception("webhook_not_sent")
            return Outcome(seconds=0, error=f"It could not be sent: {type(error).__name__}.")
