"""Sends webhooks: every worker looks for deliveries that are due, and takes what it has room for.

Rows are the queue, without a doorbell: whoever ends a document writes the delivery with it, and a receiver
can wait for the second until the next look.
"""

from __future__ import annotations

import asyncio

import structlog

from app.core.database import BROKEN
from app.jobs.worker import worker_resources
from app.models import webhook_delivery

log = structlog.get_logger(__name__)

#: Deliveries of dead workers that one look takes back.
BATCH = 200

#: The pause between two looks, and while there are no webhooks.
EVERY_S = 1.0
IDLE_EVERY_S = 3.0


async def deliver_for_ever() -> None:
    """Make deliveries, until cancelled."""
    webhooks = worker_resources().webhooks
    while True:
        pause_s = EVERY_S
        try:
            if not await webhook_delivery.are_wanted():
                pause_s = IDLE_EVERY_S
            elif await deliver_due():
                pause_s = 0
                await webhooks.any_ended(EVERY_S)
        except BROKEN as error:
            log.warning("database_unreachable", error=str(error) or type(error).__name__)
        except Exception:
            log.exception("webhooks_failed")
        await asyncio.sleep(pause_s)


async def deliver_due() -> bool:
    """Take in hand what is due; True when more may be due than there is room for."""
    resources = worker_resources()
    if resources.leases.is_stopping:
        return False
    await webhook_delivery.reap(limit=BATCH)
    return await resources.webhooks.take_due()
