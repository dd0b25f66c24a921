"""The statuses of a document, and the moves between them.

                 retry, renew
        ┌───────────────────────────────┐
        ▼                               │
──▶ PENDING ───claim───▶ PROCESSING ──fail, cancel──▶ FAILED
     │  ▲                 │      │                      ▲
     │  └─release, reap,──┘      └──complete──▶ COMPLETED ──renew──▶ PENDING
     │    hand back                                     │
     └──────────────────cancel──────────────────────────┘
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple


class DocumentStatus(StrEnum):
    """The four statuses. A client may take the last two as final; there will never be a fifth."""

    PENDING = "PENDING"  # Accepted; waits for a worker, or for its next try.
    PROCESSING = "PROCESSING"  # A worker holds a lease on it.
    COMPLETED = "COMPLETED"  # All its chunks can be found.
    FAILED = "FAILED"  # Given up, with an error that says why.


class Stage(StrEnum):
    """What a document that is not final is doing just now."""

    QUEUED = "queued"
    RETRY_WAIT = "retry_wait"
    PARSING = "parsing"
    CHUNKING = "chunking"
    EMBEDDING = "embedding"
    STORING = "storing"


class Outcome(StrEnum):
    """How an attempt ended."""

    COMPLETED = "completed"
    FAILED = "failed"  # With an error; another attempt follows unless the document is FAILED.
    INTERRUPTED = "interrupted"  # The worker was stopped: it costs no retry.
    WORKER_LOST = "worker_lost"  # The worker died or lost its database: it does.
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"  # A new version of the document came.


class Move(NamedTuple):
    """A named change of status."""

    sources: frozenset[DocumentStatus]
    target: DocumentStatus
    outcome: Outcome | None = None  # Of the attempt that was under way, if there was one.


CLAIM = Move(frozenset({DocumentStatus.PENDING}), DocumentStatus.PROCESSING)
COMPLETE = Move(frozenset({DocumentStatus.PROCESSING}), DocumentStatus.COMPLETED, Outcome.COMPLETED)
RELEASE = Move(frozenset({DocumentStatus.PROCESSING}), DocumentStatus.PENDING, Outcome.FAILED)
HAND_BACK = Move(frozenset({DocumentStatus.PROCESSING}), DocumentStatus.PENDING, Outcome.INTERRUPTED)
FAIL = Move(frozenset({DocumentStatus.PROCESSING}), DocumentStatus.FAILED, Outcome.FAILED)
RETRY = Move(frozenset({DocumentStatus.FAILED}), DocumentStatus.PENDING)
CANCEL = Move(
    frozenset({DocumentStatus.PENDING, DocumentStatus.PROCESSING}), DocumentStatus.FAILED, Outcome.CANCELLED
)
RENEW = Move(frozenset(DocumentStatus), DocumentStatus.PENDING, Outcome.SUPERSEDED)

# What holds in a status, wherever the document comes from; CHECKs in the migrations say the same.
NO_LEASE = """lease_owner = NULL, lease_expires_at = NULL,
    progress_unit = NULL, progress_done = NULL, progress_total = NULL"""
ON_ENTERING: Mapping[DocumentStatus, str] = {
    DocumentStatus.PENDING: f"{NO_LEASE}, error = NULL, completed_at = NULL, sends = 0",
    DocumentStatus.PROCESSING: "stage = 'parsing', attempt = attempt + 1",
    # Not now(), which is when the transaction began: storing a long text takes minutes.
    DocumentStatus.COMPLETED: f"""{NO_LEASE}, stage = NULL, completed_at = statement_timestamp(),
        processing_errors = NULL""",
    DocumentStatus.FAILED: f"{NO_LEASE}, stage = NULL",
}
