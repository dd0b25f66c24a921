"""How a document looks on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from app.models.attempt import Attempt
from app.models.backlog import FailedFilter
from app.models.document import Document, DocumentStatus
from app.models.document_status import Outcome
from app.models.listing import DocumentFilter
from app.schemas.ingest import MAX_TITLE_CHARS, StorableText, Title, at_most_bytes
from app.schemas.moment import WRITTEN, Moment


class Progress(BaseModel):
    """How far the present stage has come."""

    unit: str
    done: int
    total: int | None


class DocumentError(BaseModel):
    """Why a document is FAILED, or an attempt was."""

    code: str
    stage: str | None
    message: str
    retryable: bool
    hint: str


class DocumentResponse(BaseModel):
    """A document, with everything that is known about how it goes."""

    document_id: UUID
    status: DocumentStatus
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

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "document_id": "0199c0de-7a11-7c4e-8a55-0242ac120002",
                    "status": "COMPLETED",
                    "stage": None,
                    "progress": None,
                    "searchable": True,
                    "collection": "default",
                    "external_id": None,
                    "version": 1,
                    "title": "Gate times",
                    "source_name": "gate-times.pdf",
                    "media_type": "application/pdf",
                    "size_bytes": 48213,
                    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                    "metadata": {"season": "summer"},
                    "chunk_count": 12,
                    "warnings": [],
                    "attempt": 1,
                    "failures": 0,
                    "next_attempt_at": None,
                    "error": None,
                    "processing_errors": None,
                    "created_at": "2026-11-24T09:00:00Z",
                    "updated_at": "2026-11-24T09:00:02Z",
                    "completed_at": "2026-11-24T09:00:02Z",
                }
            ]
        }
    )

    @classmethod
    def of(cls, document: Document) -> Self:
        """The wire's view of a row."""
        return cls(
            document_id=document.id,
            status=DocumentStatus(document.status),
            stage=document.stage,
            progress=_progress(document),
            searchable=document.indexed_version is not None,
            collection=document.collection,
            external_id=document.external_id,
            version=document.version,
            title=document.title,
            source_name=document.source_name,
            media_type=document.media_type,
            size_bytes=document.size_bytes,
            sha256=document.sha256,
            metadata=document.metadata,
            chunk_count=document.chunk_count,
            warnings=document.warnings,
            attempt=document.attempt,
            failures=document.failures,
            next_attempt_at=document.next_attempt_at if document.stage == "retry_wait" else None,
            error=None if document.error is None else DocumentError(**document.error),
            processing_errors=document.processing_errors,
            created_at=document.created_at,
            updated_at=document.updated_at,
            completed_at=document.completed_at,
        )


def _progress(document: Document) -> Progress | None:
    if document.progress_unit is None:
        return None
    return Progress(
        unit=document.progress_unit, done=document.progress_done or 0, total=document.progress_total
    )


class DocumentPatch(BaseModel):
    """A JSON Merge Patch (RFC 7396) of what a document is called. What is left out stays."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"title": "Gate times", "metadata": {"season": "winter", "draft": None}}]
        },
    )

    title: Title | None = Field(
        default=None,
        max_length=MAX_TITLE_CHARS,
        description="Null removes it; a version that is indexed after that has its own again.",
    )
    metadata: dict[str, JsonValue] | None = Field(
        default=None, description="Merged into what is there; null removes a key, or, here, all of them."
    )


class ListQuery(BaseModel):
    """Which documents to list. A parameter that is not here is refused, or it would be taken for granted."""

    model_config = ConfigDict(extra="forbid")

    status: list[DocumentStatus] | None = Field(default=None, max_length=20, description="Only these.")
    # What is longer names nothing, and the columns refuse even to be asked for it.
    collection: Annotated[StorableText, AfterValidator(at_most_bytes(200))] | None = Field(
        default=None, description="Only from this one."
    )
    external_id: Annotated[StorableText, AfterValidator(at_most_bytes(1024))] | None = Field(
        default=None, description="Only what you gave this name."
    )
    external_id_prefix: Annotated[StorableText, AfterValidator(at_most_bytes(1024))] | None = Field(
        default=None, description="Only those whose `external_id` begins so: a folder, for one."
    )
    media_type: Annotated[StorableText, AfterValidator(at_most_bytes(255))] | None = Field(
        default=None, description="Only of this type."
    )
    q: Annotated[StorableText, AfterValidator(at_most_bytes(200))] | None = Field(
        default=None,
        description="Only with this in title, source name or `external_id`, in upper or lower case.",
    )
    created_after: Moment | None = Field(
        default=None, description=f"Taken in at this time, or later. {WRITTEN}"
    )
    created_before: Moment | None = Field(default=None, description=f"Taken in before this time. {WRITTEN}")
    error_code: Annotated[StorableText, AfterValidator(at_most_bytes(255))] | None = Field(
        default=None, description="Only FAILED ones with this `error.code`."
    )
    batch_id: UUID | None = Field(default=None, description="Only what came, new or known, with this batch.")
    limit: int = Field(default=50, ge=1, le=500)
    cursor: str | None = Field(default=None, max_length=200, description="`next_cursor` of the page before.")

    def filter(self) -> DocumentFilter:
        """The query in the words of the model."""
        return DocumentFilter(
            statuses=self.status,
            collection=self.collection,
            external_id=self.external_id,
            external_id_prefix=self.external_id_prefix,
            media_type=self.media_type,
            name_part=self.q,
            created_after=self.created_after,
            created_before=self.created_before,
            error_code=self.error_code,
            batch_id=self.batch_id,
        )


class DocumentPage(BaseModel):
    """Documents, newest first."""

    documents: list[DocumentResponse]
    next_cursor: str | None  # Give it back as `cursor` for the next page; null on the last one.


class AttemptResponse(BaseModel):
    """One attempt at a document."""

    attempt: int = Field(
        description="Rises with each attempt, and with each new version: there are gaps where one came."
    )
    version: int
    worker: str
    started_at: datetime
    ended_at: datetime | None = Field(description="Null while it is under way.")
    outcome: Outcome | None = Field(
        description="`interrupted` (a deploy) costs no retry, `worker_lost` does; null while it is under way."
    )
    stage: str | None = Field(description="The last one that it came to.")
    stage_seconds: dict[str, float] = Field(description="How long each stage took, where that is known.")
    error: DocumentError | None

    @classmethod
    def of(cls, attempt: Attempt) -> Self:
        """The wire's view of a row."""
        return cls(
            attempt=attempt.attempt,
            version=attempt.version,
            worker=attempt.worker,
            started_at=attempt.started_at,
            ended_at=attempt.ended_at,
            outcome=None if attempt.outcome is None else Outcome(attempt.outcome),
            stage=attempt.stage,
            stage_seconds=attempt.stage_seconds,
            error=None if attempt.error is None else DocumentError(**attempt.error),
        )


class AttemptsResponse(BaseModel):
    """All attempts at a document, oldest first."""

    attempts: list[AttemptResponse]


class RetryFilter(BaseModel):
    """Which FAILED documents to queue again; every condition that is given has to hold."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"codes": ["embedder_unavailable"]}]}
    )

    document_ids: list[UUID] | None = Field(default=None, min_length=1, max_length=1000)
    collection: StorableText | None = None
    codes: list[StorableText] | None = Field(
        default=None, min_length=1, max_length=50, description="Codes of their errors."
    )
    failed_after: Moment | None = Field(default=None, description=f"FAILED at this time, or later. {WRITTEN}")
    failed_before: Moment | None = Field(default=None, description=f"FAILED before this time. {WRITTEN}")
    limit: int = Field(default=10_000, ge=1, le=100_000, description="At most so many, the oldest first.")

    def failed(self) -> FailedFilter:
        """The filter in the words of the model."""
        return FailedFilter(
            document_ids=self.document_ids,
            collection=self.collection,
            codes=self.codes,
            failed_after=self.failed_after,
            failed_before=self.failed_before,
        )


class RetryResponse(BaseModel):
    """What was queued again."""

    retried: int
    has_more: bool  # The limit was reached: ask again.
