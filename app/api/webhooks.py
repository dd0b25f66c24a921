"""Webhooks: who is told when documents are final, and what came of it."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import APIRouter, Query, Response, status

from app.api.call_route import CallRoute
from app.api.cursor import Cursor
from app.api.dependencies import Resources
from app.api.problems import problems
from app.core.config import Settings
from app.errors import (
    AddressRefused,
    DeliveryNotFound,
    InvalidRequest,
    TooManyWebhooks,
    WebhookDisabled,
    WebhookNotFound,
)
from app.models.webhook import Webhook
from app.models.webhook_delivery import Delivery, DeliveryStatus
from app.schemas.webhook import (
    DeliveryPage,
    DeliveryResponse,
    WebhookCreated,
    WebhookPatch,
    WebhookRequest,
    WebhookResponse,
    WebhooksResponse,
)
from app.services.webhook_sender import check_host, new_secret

router = APIRouter(tags=["webhooks"], route_class=CallRoute)


def _check_url(url: str, settings: Settings) -> None:
    """Tell at once what would fail for certain; what names lead to is looked at later."""
    if not settings.WEBHOOKS_TO_PRIVATE_ADDRESSES:
        check_host(urlsplit(url).hostname or "")


@router.post(
    "/webhooks",
    status_code=status.HTTP_201_CREATED,
    responses=problems(AddressRefused, InvalidRequest, TooManyWebhooks),
)
async def create_webhook(asked: WebhookRequest, response: Response, resources: Resources) -> WebhookCreated:
    """Have an address told when documents are final. The answer has the secret that signs the messages."""
    _check_url(asked.url, resources.settings)
    secret = new_secret() if asked.secret is None else asked.secret.get_secret_value()
    webhook = await Webhook.create(
        url=asked.url, secret=secret, statuses=asked.statuses, collections=asked.collections
    )
    response.headers["Location"] = f"/webhooks/{webhook.id}"
    response.headers["Cache-Control"] = "no-store"
    return WebhookCreated.of(webhook, secret=secret)


@router.get("/webhooks", responses=problems(InvalidRequest))
async def list_webhooks() -> WebhooksResponse:
    """All webhooks, oldest first; without their secrets."""
    return WebhooksResponse(webhooks=[WebhookResponse.of(webhook) for webhook in await Webhook.all()])


@router.get("/webhooks/{webhook_id}", responses=problems(InvalidRequest, WebhookNotFound))
async def get_webhook(webhook_id: UUID) -> WebhookResponse:
    """A webhook, and whether it works."""
    return WebhookResponse.of(await Webhook.get(webhook_id))


@router.patch("/webhooks/{webhook_id}", responses=problems(AddressRefused, InvalidRequest, WebhookNotFound))
async def change_webhook(webhook_id: UUID, patch: WebhookPatch, resources: Resources) -> WebhookResponse:
    """Change an address, what it is told of, or its secret; switch it off, or on again."""
    if patch.url is not None:
        _check_url(patch.url, resources.settings)
    return WebhookResponse.of(await Webhook.change(webhook_id, patch.changes()))


@router.delete(
    "/webhooks/{webhook_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problems(InvalidRequest, WebhookNotFound),
)
async def delete_webhook(webhook_id: UUID) -> None:
    """Tell this address nothing any more, and forget what it was told."""
    await Webhook.remove(webhook_id)


@router.post(
    "/webhooks/{webhook_id}/test", responses=problems(InvalidRequest, WebhookDisabled, WebhookNotFound)
)
async def test_webhook(webhook_id: UUID) -> DeliveryResponse:
    """Send it a message of type `test`, if it is enabled."""
    delivery = await Delivery.test(webhook_id)
    if delivery is None:
        await Webhook.get(webhook_id)  # Raises when there is none.
        raise WebhookDisabled(webhook_id)
    return DeliveryResponse.of(delivery)


@router.get("/webhooks/{webhook_id}/deliveries", responses=problems(InvalidRequest, WebhookNotFound))
async def list_deliveries(
    webhook_id: UUID,
    status: Annotated[list[DeliveryStatus] | None, Query(max_length=20, description="Only these.")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: Annotated[
        str | None, Query(max_length=200, description="`next_cursor` of the page before.")
    ] = None,
) -> DeliveryPage:
    """What it was told, newest first, with every attempt. Kept for a week after the end."""
    after = None if cursor is None else Cursor.decode(cursor)
    await Webhook.get(webhook_id)
    found = await Delivery.listed(webhook_id, statuses=status, after=after, limit=limit + 1)
    page, more = found[:limit], found[limit:]
    return DeliveryPage(
        deliveries=[DeliveryResponse.of(delivery) for delivery in page],
        next_cursor=Cursor(page[-1].created_at, page[-1].id).encode() if more else None,
    )


@router.post(
    "/webhooks/{webhook_id}/deliveries/{delivery_id}/replay",
    responses=problems(DeliveryNotFound, InvalidRequest),
)
async def replay_delivery(webhook_id: UUID, delivery_id: UUID) -> DeliveryResponse:
    """Send a message again, whatever came of it, with the same `webhook-id` and all its tries.

    A disabled webhook is sent it when it is enabled again.
    """
    return DeliveryResponse.of(await Delivery.replay(webhook_id, delivery_id))
