"""How the whole service looks on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Self
from uuid import UUID

from pydantic import BaseModel, Field

from app.models.document_status import DocumentStatus
from app.models.figures import MINUTES
from app.models.workers import Alive
from app.schemas.document import Progress
from app.services.stats_service import Stats


class QueueStats(BaseModel):
    """What waits for a worker."""

    waiting: int = Field(description="All that is PENDING.")
    due: int = Field(
        description="Those that a worker could begin at once; the others wait for their next try."
    )
    oldest_waiting_s: float | None = Field(description="Of those that are due; null when none is.")


class MinuteStats(BaseModel):
    """What ended in a minute: attempts, so a document that is tried again is told more than once."""

    minute: datetime
    completed: int
    failed: int


class HeldDocument(BaseModel):
    """A document in a worker's hands."""

    document_id: UUID
    title: str | None = Field(description="Or its file's name, or its `external_id`.")
    stage: str | None
    progress: Progress | None
    since: datetime


class WorkerStats(BaseModel):
    """A worker process that is alive."""

    name: str = Field(description="`host:pid:nonce`, as in attempts and logs.")
    held: list[HeldDocument]

    @classmethod
    def of(cls, worker: Alive) -> Self:
        """The wire's view of a worker."""
        return cls(
            name=worker.name,
            held=[
                HeldDocument(
                    document_id=held.document_id,
                    title=held.title,
                    stage=held.stage,
                    progress=None if held.progress is None else Progress(**held.progress),
                    since=held.since,
                )
                for held in worker.held
            ],
        )


class StorageStats(BaseModel):
    """What takes space, as of the last half minute."""

    database_bytes: int = Field(description="The whole database, with its indexes.")
    content_bytes: int = Field(description="Documents as they were sent, in the database or in files.")
    chunks: int


class StatsResponse(BaseModel):
    """How the whole service is."""

    documents: dict[DocumentStatus, int]
    queue: QueueStats
    throughput: list[MinuteStats] = Field(
        description=f"The last {MINUTES} minutes, oldest first; the last one is still going on."
    )
    workers: list[WorkerStats]
    storage: StorageStats

    @classmethod
    def of(cls, stats: Stats) -> Self:
        """The wire's view of it."""
        return cls(
            documents=dict(stats.documents),
            queue=QueueStats(
                waiting=stats.queue.waiting,
                due=stats.queue.due,
                oldest_waiting_s=stats.queue.oldest_waiting_s,
            ),
            throughput=[
                MinuteStats(minute=each.minute, completed=each.completed, failed=each.failed)
                for each in stats.throughput
            ],
            workers=[WorkerStats.of(worker) for worker in stats.workers],
            storage=StorageStats(
                database_bytes=stats.storage.database_bytes,
                content_bytes=stats.storage.content_bytes,
                chunks=stats.storage.chunks,
            ),
        )
