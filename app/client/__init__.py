"""A client of Sluice for Python programs: `Sluice` for threads, `AsyncSluice` for asyncio (docs/client.md).

It needs httpx, httpx-sse and pydantic, and nothing of the server's.
"""

from app.client import errors
from app.client.answers import (
    Attempt,
    Batch,
    BatchItem,
    Chunk,
    Citation,
    Collection,
    Delivery,
    Document,
    DocumentError,
    DocumentEvent,
    Event,
    Hit,
    Ingested,
    Key,
    KeyCreated,
    Progress,
    ProgressEvent,
    Ready,
    Stats,
    Status,
    Webhook,
    WebhookCreated,
)
from app.client.asynchronous.client import AsyncSluice
from app.client.errors import PermanentError, SluiceError, TransientError
from app.client.items import Item, Outcome
from app.client.retries import Retries
from app.client.synchronous.client import Sluice

__all__ = [
    "AsyncSluice",
    "Attempt",
    "Batch",
    "BatchItem",
    "Chunk",
    "Citation",
    "Collection",
    "Delivery",
    "Document",
    "DocumentError",
    "DocumentEvent",
    "Event",
    "Hit",
    "Ingested",
    "Item",
    "Key",
    "KeyCreated",
    "Outcome",
    "PermanentError",
    "Progress",
    "ProgressEvent",
    "Ready",
    "Retries",
    "Sluice",
    "SluiceError",
    "Stats",
    "Status",
    "TransientError",
    "Webhook",
    "WebhookCreated",
    "errors",
]
