"""Makes deliveries: takes them in hand as there is room, sends them, and writes down what came of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Self
from uuid import UUID

import structlog

from app.core.database import BROKEN
from app.models.webhook_delivery import Claimed, Delivery, Outcome
from app.services.webhook_sender import WebhookSender

log = structlog.get_logger(__name__)

#: What a process sends at the same time; and to one webhook, so that a slow one keeps nobody up.
MOST_AT_ONCE = 32
MOST_TO_ONE = 4

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

    async def take_due(self) -> bool:
        """Take in hand what is due and there is room for, and send it in the background.

        Returns:
            Whether more may be due that there is no room for; `any_ended` returns when there is some.
        """
        in_hand = Counter(self._to)  # Some of them may end meanwhile.
        claimed = await Delivery.claim_due(
            limit=MOST_AT_ONCE - in_hand.total(), to_one=MOST_TO_ONE, in_hand=in_hand
        )
        to = Counter(each.delivery.webhook_id for each in claimed)
        self._to += to
        for each in claimed:
            task = asyncio.create_task(self._deliver(each), name="webhook")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        in_hand += to
        return in_hand.total() >= MOST_AT_ONCE or MOST_TO_ONE in in_hand.values()

    async def any_ended(self, timeout_s: float) -> None:
        """Return when one of those in hand has ended, and after `timeout_s` at the latest."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        # Others will send again what is being sent; its receiver knows it by its id.
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _deliver(self, claimed: Claimed) -> None:
        delivery = claimed.delivery
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
