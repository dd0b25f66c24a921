"""Looking at documents, steering them, and removing them."""

from __future__ import annotations

import asyncio
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response, status

from app.api.cursor import Cursor
from app.api.dependencies import Bell, Resources
from app.api.problems import problems
from app.errors import DocumentNotFound, InvalidRequest
from app.jobs.ingestion_job import process_ingestion
from app.models import backlog
from app.models.attempt import Attempt
from app.models.document import Document
from app.schemas.document import (
    AttemptResponse,
    AttemptsResponse,
    DocumentPage,
    DocumentResponse,
    ListQuery,
    RetryFilter,
    RetryResponse,
)

router = APIRouter(tags=["documents"])

MAX_WAIT_S = 60

#: Attempts that are shown, the newest; only people who retry for ever can make more.
MAX_ATTEMPTS = 1000

#: Documents that one statement queues again.
RETRY_BATCH = 1000

# A small document is done in tens of milliseconds, a large one in minutes: look often at first.
FIRST_LOOK_S, LAST_LOOK_S = 0.02, 0.5


@router.get("/documents/{document_id}", responses=problems(DocumentNotFound, InvalidRequest))
async def get_document(
    document_id: UUID,
    wait: Annotated[
        float, Query(ge=0, le=MAX_WAIT_S, description="Seconds to wait for a final status before answering.")
    ] = 0,
) -> DocumentResponse:
    """A document as it is now; with `wait`, as soon as it is final."""
    return DocumentResponse.of(await _final_or_late(document_id, wait))


async def _final_or_late(document_id: UUID, wait_s: float) -> Document:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_s
    pause_s = FIRST_LOOK_S
    while True:
        document = await _known(document_id)
        left_s = deadline - loop.time()
        if document.is_final or left_s <= 0:
            return document
        try:
            await asyncio.sleep(min(pause_s, left_s))
        except asyncio.CancelledError:
            return document  # The server stops: who waits gets what there is.
        pause_s = min(pause_s * 1.5, LAST_LOOK_S)


async def _known(document_id: UUID) -> Document:
    document = await Document.shown(id=document_id).get_or_none()
    if document is None:
        raise DocumentNotFound(document_id)
    return document


@router.get("/documents", responses=problems(InvalidRequest))
async def list_documents(asked: Annotated[ListQuery, Query()]) -> DocumentPage:
    """Documents, newest first. New ones do not shift the pages that a cursor leads to."""
    found = Document.shown().order_by("-created_at", "-id").limit(asked.limit + 1)
    if asked.status:
        found = found.filter(status__in=asked.status)
    if asked.collection is not None:
        found = found.filter(collection=asked.collection)
    if asked.external_id is not None:
        found = found.filter(external_id=asked.external_id)
    if asked.cursor is not None:
        found = found.filter(Cursor.decode(asked.cursor).older())
    documents = await found
    page, more = documents[: asked.limit], documents[asked.limit :]
    return DocumentPage(
        documents=[DocumentResponse.of(document) for document in page],
        next_cursor=Cursor.after(page[-1]).encode() if more else None,
    )


@router.get("/documents/{document_id}/attempts", responses=problems(DocumentNotFound, InvalidRequest))
async def list_attempts(document_id: UUID) -> AttemptsResponse:
    """What became of each attempt, oldest first; the last one may be under way."""
    attempts = await Attempt.filter(document_id=document_id).order_by("-attempt").limit(MAX_ATTEMPTS)
    if not attempts:
        await _known(document_id)
    return AttemptsResponse(attempts=[AttemptResponse.of(attempt) for attempt in reversed(attempts)])


@router.post("/documents/retry", responses=problems(InvalidRequest))
async def retry_documents(chosen: RetryFilter) -> RetryResponse:
    """Queue FAILED documents again, with all their tries. Without a filter, all of them.

    Safe to repeat: what is queued is not FAILED any more. Workers begin with them within seconds.
    """
    retried = 0
    while retried < chosen.limit:
        batch = min(RETRY_BATCH, chosen.limit - retried)
        queued = await backlog.retry_failed(chosen.failed(), limit=batch)
        retried += queued
        if queued < batch:
            break
    return RetryResponse(retried=retried, has_more=retried == chosen.limit)


@router.post("/documents/{document_id}/retry", responses=problems(DocumentNotFound, InvalidRequest))
async def retry_document(document_id: UUID, doorbell: Bell) -> DocumentResponse:
    """Queue a FAILED document again, with all its tries. In any other status, nothing is done."""
    if await Document.retry(document_id):
        await doorbell.ring(process_ingestion.send, document_id)
    return DocumentResponse.of(await _known(document_id))


@router.post("/documents/{document_id}/cancel", responses=problems(DocumentNotFound, InvalidRequest))
async def cancel_document(document_id: UUID) -> DocumentResponse:
    """Give up a document that is not final yet: it is FAILED with the code `cancelled`.

    A worker that has it in hand notices at its next beat, and can write nothing from this moment on.
    """
    await Document.cancel(document_id)
    return DocumentResponse.of(await _known(document_id))


@router.delete(
    "/documents/{document_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problems(DocumentNotFound, InvalidRequest),
)
async def delete_document(document_id: UUID, resources: Resources) -> Response:
    """Remove a document in any status: its chunks, its content and every trace of it."""
    removed = await Document.remove(document_id)
    if removed is None:
        raise DocumentNotFound(document_id)
    if removed.content_key is not None:
        await asyncio.to_thread(resources.store.delete, removed.content_key)
    return Response(status_code=status.HTTP_204_NO_CONTENT)
