"""Sends webhooks: an actor of its own queue, and the sweep that finds what is to be sent.

Rows are the outbox, as with documents: whoever ends a document writes the delivery with it, and the sweep of
every worker sends ids of rows that have no message, or whose message was lost.
"""

from __future__ import annotations

import asyncio
from uuid import UUID

import dramatiq
import redis
import structlog

from app.core.database import BROKEN
from app.core.queue import broker  # Before any actor is declared.
from app.jobs.worker import worker_resources
from app.models import webhook_delivery

log = structlog.get_logger(__name__)

#: Deliveries that one sweep takes in hand, and the pause between two.
BATCH = 200
EVERY_S = 1.0
#: The pause while there are no webhooks.
IDLE_EVERY_S = 3.0


@dramatiq.actor(broker=broker, queue_name="webhooks", max_retries=0)
async def deliver_webhook(delivery_id: str) -> None:
    """Make one delivery. The message is only a doorbell: its row says whether there is anything to do.

    It does not wait for the receiver, as documents need the queue's threads; the row's lease is what stays.
    """
    try:
        known_id = UUID(delivery_id)
    except (ValueError, AttributeError, TypeError):
        log.warning("message_malformed", delivery_id=str(delivery_id)[:64])
        return
    await _begin([known_id])


async def sweep_for_ever() -> None:
    """Send what is to be sent, until cancelled."""
    while True:
        pause_s = EVERY_S
        try:
            if not await webhook_delivery.are_wanted():
                pause_s = IDLE_EVERY_S
            elif await sweep():
                pause_s = 0
        except BROKEN as error:
            log.warning("database_unreachable", error=str(error) or type(error).__name__)
        except Exception:
            log.exception("sweep_failed")
        await asyncio.sleep(pause_s)


async def sweep() -> bool:
    """One pass; True when there was more than one takes."""
    await webhook_delivery.reap(limit=BATCH)
    unsent = await webhook_delivery.take_unsent(limit=BATCH)
    sent = await asyncio.to_thread(_sent, unsent)
    await _begin(unsent[sent:])  # The queue is away: without it, then.
    return len(unsent) == BATCH


async def _begin(delivery_ids: list[UUID]) -> None:
    resources = worker_resources()
    for delivery_id in delivery_ids:
        if resources.leases.is_stopping:
            await webhook_delivery.put_back([delivery_id], for_s=0)  # For another worker.
        else:
            await resources.webhooks.begin(delivery_id)


def _sent(delivery_ids: list[UUID]) -> int:
    """How many of them the queue took."""
    for sent, delivery_id in enumerate(delivery_ids):
        try:
            deliver_webhook.send(str(delivery_id))
        except redis.RedisError as error:
            log.warning("queue_unreachable", error=str(error))
            return sent
    return len(delivery_ids)
