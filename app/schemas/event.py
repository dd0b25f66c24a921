"""How live events look on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from app.models.document_status import DocumentStatus
from app.models.event_log import Change
from app.schemas.document import DocumentError, Progress
from app.services.progress import Step


class DocumentEvent(BaseModel):
    """A document changed its status or its stage, or was deleted: how it was then."""

    document_id: UUID
    collection: str | None
    external_id: str | None
    title: str | None
    source_name: str | None
    version: int | None
    status: DocumentStatus | None = Field(description="Null when it was deleted.")
    stage: str | None
    attempt: int | None
    failures: int | None
    progress: Progress | None
    chunk_count: int | None
    error: DocumentError | None
    deleted: bool
    at: datetime | None

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "document_id": "0199c0de-7a11-7c4e-8a55-0242ac120002",
                    "collection": "default",
                    "external_id": None,
                    "title": "Gate times",
                    "source_name": "gate-times.pdf",
                    "version": 1,
                    "status": "COMPLETED",
                    "stage": None,
                    "attempt": 1,
                    "failures": 0,
                    "progress": None,
                    "chunk_count": 12,
                    "error": None,
                    "deleted": False,
                    "at": "2026-11-24T09:00:02Z",
                }
            ]
        }
    )

    @classmethod
    def of(cls, change: Change) -> Self:
        """The wire's view of a change; always the same of the same one."""
        unit = change.progress_unit
        return cls(
            document_id=change.document_id,
            collection=change.collection,
            external_id=change.external_id,
            title=change.title,
            source_name=change.source_name,
            version=change.version,
            status=change.status,
            stage=change.stage,
            attempt=change.attempt,
            failures=change.failures,
            progress=None
            if unit is None
            else Progress(unit=unit, done=change.progress_done or 0, total=change.progress_total),
            chunk_count=change.chunk_count,
            error=None if change.error is None else DocumentError(**change.error),
            deleted=change.status is None,
            at=change.at,
        )


class ProgressEvent(BaseModel):
    """A stage has come further. Such events are told as they happen, and never again."""

    document_id: UUID
    stage: str | None
    progress: Progress

    @classmethod
    def of(cls, step: Step) -> Self:
        """The wire's view of a step."""
        progress = Progress(unit=step.unit, done=step.done, total=step.total)
        return cls(document_id=step.document_id, stage=step.stage, progress=progress)
