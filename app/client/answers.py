"""What the server answers, as values. Fields that it has and this client does not know yet are kept."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from app.client.errors import DocumentFailed, SluiceError, of_code

#: The four statuses; the last two are final, and there will never be a fifth.
Status = Literal["PENDING", "PROCESSING", "COMPLETED", "FAILED"]
FINAL: frozenset[Status] = frozenset({"COMPLETED", "FAILED"})


class Answer(BaseModel):
    """Parent of all of them: frozen, and open to what a newer server adds."""

    # Built when first used: a command needs few of them, and all together take a tenth of a second.
    model_config = ConfigDict(frozen=True, extra="allow", defer_build=True)


class Progress(Answer):
    """How far the present stage has come."""

    unit: str
    done: int
    total: int | None


class DocumentError(Answer):
    """Why a document is FAILED, or an attempt was."""

    code: str
    stage: str | None = None
    message: str
    retryable: bool
    hint: str


class Document(Answer):
    """A document, with everything that is known about how it goes."""

    document_id: UUID
    status: Status
    stage: str | None
    progress: Progress | None
    searchable: bool
    collection: str
    external_id: str | None
    version: int
    title: str | None
    source_name: str | None
    media_type: str
    size_bytes: int
    sha256: str
    metadata: dict[str, Any]
    chunk_count: int
    warnings: list[str]
    attempt: int
    failures: int
    next_attempt_at: datetime | None
    error: DocumentError | None
    processing_errors: str | None
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None

    _etag: str | None = PrivateAttr(default=None)

    @property
    def etag(self) -> str | None:
        """For `if_match`: changes whenever anything here does. None of documents that came in a list."""
        return self._etag

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    @property
    def name(self) -> str:
        """What people know it by."""
        return self.title or self.external_id or self.source_name or str(self.document_id)

    def raise_for_failure(self) -> Self:
        """
        Raises:
            DocumentFailed: It is FAILED; the error has its code and hint.
        """
        if self.status == "FAILED":
            raise DocumentFailed(self)
        return self


class Ingested(Answer):
    """The document is safe; how it goes on, `wait` and `document` tell."""

    document_id: UUID
    status: Status
    created: bool = Field(description="A new document, or a new version of one; else it was known already.")


class Attempt(Answer):
    """One attempt at a document; its number rises with each new version, too, so that there are gaps."""

    attempt: int
    version: int
    worker: str
    started_at: datetime
    ended_at: datetime | None
    outcome: Literal["completed", "failed", "interrupted", "worker_lost", "cancelled", "superseded"] | None
    stage: str | None
    stage_seconds: dict[str, float]
    error: DocumentError | None


class Attempts(Answer):
    """All attempts at a document, oldest first."""

    attempts: list[Attempt]


class Chunk(Answer):
    """A passage, as searches find it: `[char_start:char_end]` of the document's text."""

    chunk_id: int
    ordinal: int
    version: int
    text: str
    char_start: int
    char_end: int
    page: int | None
    page_end: int | None
    headings: list[str]
    token_count: int


class ItemError(Answer):
    """Why an item of a batch was not taken."""

    code: str
    message: str
    retryable: bool
    hint: str

    def as_error(self) -> SluiceError:
        """The same as the exception that it would have been by itself."""
        return of_code(self.code, retryable=self.retryable)(self.message, code=self.code, hint=self.hint)


class BatchItem(Answer):
    """What became of one item of a batch."""

    index: int
    name: str | None
    document_id: UUID | None
    status: Status | None
    created: bool
    error: ItemError | None


class BatchSummary(Answer):
    """What became of a batch as a whole; `error` says why its body could not be read to its end."""

    batch_id: UUID
    created: int
    known: int
    failed: int
    error: ItemError | None


class Batch(Answer):
    """How a batch is now."""

    batch_id: UUID
    created_at: datetime
    closed_at: datetime | None
    items: int
    created: int
    known: int
    failed: int
    deleted: int
    by_status: dict[Status, int]
    is_final: bool
    error: ItemError | None


class EmbeddingModel(Answer):
    """What makes a collection's vectors."""

    embedder: Literal["minilm", "static", "openai", "hash"]
    model: str
    dimensions: int


class ReembeddingError(Answer):
    """Why a re-embedding does not get on."""

    code: str
    message: str
    retryable: bool
    hint: str


class ReembeddingProgress(Answer):
    """How far a collection has come on its way to another model."""

    embedding: EmbeddingModel
    since: datetime
    chunks_done: int
    chunks_total: int
    error: ReembeddingError | None


class Deletion(Answer):
    """How far the deletion of a collection has come."""

    since: datetime
    documents_left: int


class Collection(Answer):
    """A collection with what is in it now."""

    name: str
    language: str
    chunk_tokens: int | None
    overlap_tokens: int | None
    embedding: EmbeddingModel | None
    created_at: datetime
    documents: dict[Status, int]
    chunks: int
    size_bytes: int
    reembedding: ReembeddingProgress | None
    deletion: Deletion | None


class Citation(Answer):
    """Where a passage stands."""

    title: str | None
    source: str | None
    page: int | None
    page_end: int | None
    char_start: int
    char_end: int
    headings: list[str]


class Leg(Answer):
    """Where one way of searching saw a hit."""

    rank: int
    score: float


class Highlight(Answer):
    """A word of the query: characters `[start:end]` of the hit's `text`."""

    start: int
    end: int


class Context(Answer):
    """A hit with its neighbours."""

    text: str
    char_start: int
    char_end: int
    page: int | None
    page_end: int | None


class Hit(Answer):
    """A passage that answers."""

    chunk_id: int
    document_id: UUID
    version: int
    collection: str
    external_id: str | None
    text: str
    score: float
    legs: dict[str, Leg]
    citation: Citation
    highlights: list[Highlight]
    context: Context | None
    metadata: dict[str, Any]


class Hits(Answer):
    """All of a search, best first."""

    hits: list[Hit]


class Retried(Answer):
    """What was queued again; with `has_more`, the limit was reached: ask again."""

    retried: int
    has_more: bool


class Health(Answer):
    """The server is there."""

    status: Literal["ok"]


# --- Pages of lists, which the iterators turn over ---------------------------------------------------------


class DocumentPage(Answer):
    """Documents, newest first."""

    documents: list[Document]
    next_cursor: str | None


class ChunkPage(Answer):
    """Chunks of one version, in their order."""

    document_id: UUID
    version: int | None
    chunks: list[Chunk]
    next_cursor: str | None


class BatchItemPage(Answer):
    """Items of a batch, in their order."""

    items: list[BatchItem]
    next_cursor: str | None


class CollectionPage(Answer):
    """Collections, by name."""

    collections: list[Collection]
    next_after: str | None


# --- How the service is -------------------------------------------------------------------------------------


class Queue(Answer):
    """What waits for a worker."""

    waiting: int
    due: int
    oldest_waiting_s: float | None


class Minute(Answer):
    """What was finished in one minute."""

    minute: datetime
    completed: int
    failed: int


class Held(Answer):
    """A document that a worker has in hand."""

    document_id: UUID
    title: str | None
    stage: str | None
    progress: Progress | None
    since: datetime


class Worker(Answer):
    """A worker that is alive."""

    name: str
    held: list[Held]


class Storage(Answer):
    """What takes space."""

    database_bytes: int
    content_bytes: int
    chunks: int


class Stats(Answer):
    """The service in numbers."""

    documents: dict[Status, int]
    queue: Queue
    throughput: list[Minute]
    workers: list[Worker]
    storage: Storage


# --- Webhooks -----------------------------------------------------------------------------------------------


class Webhook(Answer):
    """An address that is told when documents are final, and how that does."""

    webhook_id: UUID
    url: str
    statuses: list[Status] | None
    collections: list[str] | None
    enabled: bool
    disabled_reason: str | None
    failures: int
    failing_since: datetime | None
    created_at: datetime
    updated_at: datetime


class WebhookCreated(Webhook):
    """A new one, with its secret."""

    secret: str = Field(repr=False)


class WebhookList(Answer):
    """All of them, oldest first."""

    webhooks: list[Webhook]


#: The last two are final.
DeliveryStatus = Literal["PENDING", "SENDING", "DELIVERED", "FAILED"]


class DeliveryAttempt(Answer):
    """One try to make a delivery."""

    attempt: int
    at: datetime
    seconds: float
    status_code: int | None
    error: str | None


class Delivery(Answer):
    """What a webhook was, or is to be, told."""

    delivery_id: UUID
    webhook_id: UUID
    document_id: UUID | None
    type: str
    status: DeliveryStatus
    failures: int
    attempts: list[DeliveryAttempt]
    next_attempt_at: datetime | None
    created_at: datetime
    ended_at: datetime | None


class DeliveryPage(Answer):
    """Deliveries, newest first."""

    deliveries: list[Delivery]
    next_cursor: str | None


# --- Keys ---------------------------------------------------------------------------------------------------


class Key(Answer):
    """A key that was made by a call, without its secret."""

    key_id: UUID
    name: str
    begins: str
    collections: list[str] | None
    may_write: bool
    expires_at: datetime | None
    created_at: datetime
    last_used_at: datetime | None


class KeyCreated(Key):
    """A new one, with its secret."""

    secret: str = Field(repr=False)


class KeyList(Answer):
    """All of them, oldest first."""

    keys: list[Key]


# --- Live events --------------------------------------------------------------------------------------------


class Ready(Answer):
    """Listening has begun; everything after this is told."""

    id: str | None = None


class DocumentEvent(Answer):
    """A document changed its status or its stage; `status` is None when it was deleted."""

    id: str | None = None
    document_id: UUID
    collection: str | None = None
    external_id: str | None = None
    title: str | None = None
    source_name: str | None = None
    version: int | None = None
    status: Status | None = None
    stage: str | None = None
    attempt: int | None = None
    failures: int | None = None
    progress: Progress | None = None
    chunk_count: int | None = None
    error: DocumentError | None = None
    deleted: bool = False
    at: datetime | None = None

    @property
    def is_final(self) -> bool:
        return self.deleted or self.status in FINAL


class ProgressEvent(Answer):
    """A stage has come further. Such events are not replayed."""

    document_id: UUID
    stage: str | None = None
    progress: Progress


Event = Ready | DocumentEvent | ProgressEvent
