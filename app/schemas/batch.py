"""What `POST /ingest/batch` and `/batches` take and answer."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.models.batch import Batch, ItemNow, ItemResult, Tally
from app.models.document_status import DocumentStatus
from app.schemas.ingest import NOT_BLANK, StorableText, at_most_bytes, not_blank, visible


class BatchQuery(BaseModel):
    """What holds for all documents of a batch. A parameter that is not here is refused."""

    model_config = ConfigDict(extra="forbid")

    collection: Annotated[
        StorableText, AfterValidator(not_blank), AfterValidator(visible), AfterValidator(at_most_bytes(200))
    ] = Field(
        default="default", description="For all that name none of their own.", json_schema_extra=NOT_BLANK
    )
    external_ids: Literal["path"] | None = Field(
        default=None,
        description="`path`: each file's `external_id` is its path, as it was sent; the same paths again make"
        " new versions of what has changed.",
    )


class ItemError(BaseModel):
    """Why an item was not taken."""

    code: str
    message: str
    retryable: bool
    hint: str


class ItemResponse(BaseModel):
    """What became of one item."""

    index: int = Field(description="Its place in the body, from 0.")
    name: str | None = Field(description="Its file's path, as far as it was sent, or its `external_id`.")
    document_id: UUID | None = Field(description="Null when it was refused, or its document is deleted.")
    status: DocumentStatus | None
    created: bool = Field(description="A new document, or a new version of one; else it was known already.")
    error: ItemError | None

    @classmethod
    def of(cls, item: ItemResult | ItemNow) -> Self:
        """The wire's view of an item."""
        return cls(
            index=item.index,
            name=item.name,
            document_id=item.document_id,
            status=item.status,
            created=item.created,
            error=_error(item.error),
        )


class BatchSummary(BaseModel):
    """What became of a batch; the last line of an answer in NDJSON."""

    batch_id: UUID
    created: int
    known: int
    failed: int
    error: ItemError | None = Field(
        description="Why the body could not be read to its end; what is told of its items holds anyway."
    )


class BatchResponse(BatchSummary):
    """What became of a batch, and of each of its items."""

    items: list[ItemResponse]


class BatchStatus(BaseModel):
    """How a batch is now."""

    batch_id: UUID
    created_at: datetime
    closed_at: datetime | None = Field(description="Null while items may still come.")
    items: int
    created: int
    known: int
    failed: int = Field(description="Items that were refused, each with its error.")
    deleted: int = Field(description="Items whose documents are gone.")
    by_status: dict[DocumentStatus, int] = Field(description="Its documents, by their present status.")
    is_final: bool = Field(description="Nothing more comes, and all its documents are COMPLETED or FAILED.")
    error: ItemError | None = Field(description="Why the body could not be read to its end.")

    @classmethod
    def of(cls, batch: Batch, tally: Tally) -> Self:
        """The wire's view of a batch."""
        by_status = {status: tally.by_status.get(status, 0) for status in DocumentStatus}
        under_way = by_status[DocumentStatus.PENDING] + by_status[DocumentStatus.PROCESSING]
        return cls(
            batch_id=batch.id,
            created_at=batch.created_at,
            closed_at=batch.closed_at,
            items=tally.items,
            created=tally.created,
            known=tally.known,
            failed=tally.failed,
            deleted=tally.deleted,
            by_status=by_status,
            is_final=batch.is_closed and not under_way,
            error=_error(batch.error),
        )


class BatchItemPage(BaseModel):
    """Items of a batch, in their order, with their documents' present status."""

    items: list[ItemResponse]
    next_cursor: str | None  # Give it back as `cursor` for the next page; null on the last one.


def _error(error: Any) -> ItemError | None:
    return None if error is None else ItemError(**error)
