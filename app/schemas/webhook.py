"""How webhooks, their deliveries and their messages look on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from app.models.document_status import DocumentStatus
from app.models.event_log import FINAL
from app.models.webhook import Webhook
from app.models.webhook_delivery import Delivery, DeliveryStatus
from app.schemas.event import DocumentEvent
from app.schemas.ingest import CollectionName
from app.services.webhook_sender import key_of

MAX_URL_CHARS = 2000


def _http_url(url: str) -> str:
    """The URL, if a message can be sent there."""
    if not url.isascii() or any(character <= " " for character in url):
        raise ValueError("must be ASCII without spaces: names in Punycode, the rest percent-encoded")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must begin with http:// or https:// and name a host")
    labels = parts.hostname.rstrip(".").split(".")
    if ":" not in parts.hostname and not all(0 < len(label) < 64 for label in labels):
        raise ValueError("must name a host, of parts that have 1 to 63 characters")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not carry a user or password, which would be shown to everybody")
    if parts.port == 0:  # Raises ValueError for what is no port.
        raise ValueError("must name a port that there is")
    return url


def _secret(secret: SecretStr) -> SecretStr:
    key_of(secret.get_secret_value())
    return secret


def _final(status: DocumentStatus) -> DocumentStatus:
    if status not in FINAL:
        raise ValueError("must be COMPLETED or FAILED")
    return status


URL = Annotated[str, Field(max_length=MAX_URL_CHARS), AfterValidator(_http_url)]
Secret = Annotated[
    SecretStr,
    Field(
        description="`whsec_` and 24 to 64 bytes in base64; else one is made. It is shown only here, once."
    ),
    AfterValidator(_secret),
]
Statuses = Annotated[
    list[Annotated[DocumentStatus, AfterValidator(_final)]],
    Field(min_length=1, max_length=2, description="Which ends are told: COMPLETED, FAILED; null: both."),
]
Collections = Annotated[
    list[CollectionName],
    Field(min_length=1, max_length=100, description="Of which collections; null: all, also those to come."),
]


class WebhookRequest(BaseModel):
    """Who is to be told of what."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"url": "https://example.org/sluice", "statuses": ["FAILED"]}]},
    )

    url: URL
    statuses: Statuses | None = None
    collections: Collections | None = None
    secret: Secret | None = None


class WebhookPatch(BaseModel):
    """What is to be changed of a webhook. What is left out stays."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"enabled": True}]})

    url: URL | None = None
    statuses: Statuses | None = None
    collections: Collections | None = None
    secret: Secret | None = None
    enabled: bool | None = Field(default=None, description="True forgets the failures, too.")

    def changes(self) -> dict[str, Any]:
        """In the words of the model. Null means "all" where it means anything, else nothing."""
        said = self.model_dump(exclude_unset=True)
        changes: dict[str, Any] = {name: said[name] for name in ("statuses", "collections") if name in said}
        changes |= {name: said[name] for name in ("url",) if said.get(name) is not None}
        if self.secret is not None:
            changes["secret"] = self.secret.get_secret_value()
        if self.enabled is not None:
            changes["is_enabled"] = self.enabled
        return changes


class WebhookResponse(BaseModel):
    """A webhook, and how it does."""

    webhook_id: UUID
    url: str
    statuses: list[DocumentStatus] | None
    collections: list[str] | None
    enabled: bool
    disabled_reason: str | None
    failures: int = Field(description="Attempts that failed since the last one that succeeded.")
    failing_since: datetime | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, webhook: Webhook, **more: Any) -> Self:
        """The wire's view of a row."""
        return cls(
            webhook_id=webhook.id,
            url=webhook.url,
            statuses=None if webhook.statuses is None else list(webhook.statuses),
            collections=None if webhook.collections is None else list(webhook.collections),
            enabled=webhook.disabled_at is None,
            disabled_reason=webhook.disabled_reason,
            failures=webhook.failures,
            failing_since=webhook.failing_since,
            created_at=webhook.created_at,
            updated_at=webhook.updated_at,
            **more,
        )


class WebhookCreated(WebhookResponse):
    """A new webhook, with its secret: keep it, as it is never shown again."""

    secret: str


class WebhooksResponse(BaseModel):
    """All webhooks, oldest first."""

    webhooks: list[WebhookResponse]


class DeliveryAttempt(BaseModel):
    """One try to make a delivery."""

    attempt: int
    at: datetime
    seconds: float
    status_code: int | None = Field(description="Null: there was no answer.")
    error: str | None = Field(description="Null: it succeeded.")


class DeliveryResponse(BaseModel):
    """What a webhook was, or is to be, told."""

    delivery_id: UUID = Field(description="The `webhook-id` of its message, at every attempt.")
    webhook_id: UUID
    document_id: UUID | None = Field(description="Null: a test.")
    type: str
    status: DeliveryStatus
    failures: int
    attempts: list[DeliveryAttempt] = Field(description="The last 20, oldest first.")
    next_attempt_at: datetime | None
    created_at: datetime
    ended_at: datetime | None

    @classmethod
    def of(cls, delivery: Delivery) -> Self:
        """The wire's view of a row."""
        return cls(
            delivery_id=delivery.id,
            webhook_id=delivery.webhook_id,
            document_id=None if delivery.event is None else delivery.event["document_id"],
            type=type_of(delivery),
            status=delivery.status,
            failures=delivery.failures,
            attempts=[DeliveryAttempt(**attempt) for attempt in delivery.attempts],
            next_attempt_at=delivery.next_attempt_at if delivery.status == DeliveryStatus.PENDING else None,
            created_at=delivery.created_at,
            ended_at=delivery.ended_at,
        )


class DeliveryPage(BaseModel):
    """Deliveries, newest first."""

    deliveries: list[DeliveryResponse]
    next_cursor: str | None  # Give it back as `cursor` for the next page; null on the last one.


class WebhookMessage(BaseModel):
    """What a receiver is sent."""

    type: str  # document.completed, document.failed, or test.
    timestamp: datetime  # When it happened, not when it was sent.
    data: DocumentEvent | None

    @classmethod
    def of(cls, delivery: Delivery) -> Self:
        """The message of a delivery; the same at every attempt."""
        event = delivery.event
        if event is None:
            return cls(type=type_of(delivery), timestamp=delivery.created_at, data=None)
        data = DocumentEvent(**event, stage=None, progress=None, deleted=False)
        return cls(type=type_of(delivery), timestamp=event["at"], data=data)


def message_body(delivery: Delivery) -> bytes:
    """The bytes of a delivery's message."""
    return WebhookMessage.of(delivery).model_dump_json().encode()


def type_of(delivery: Delivery) -> str:
    """The type of a message, by the convention of Standard Webhooks."""
    return "test" if delivery.event is None else f"document.{delivery.event['status'].lower()}"
