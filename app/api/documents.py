"""Looking at documents, steering them, and removing them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response, status

from app.api.call_route import CallRoute
from app.api.cursor import Cursor
from app.api.dependencies import Bell, Resources, Within, access_of
from app.api.etags import ETAG, IfMatch, IfNoneMatch, is_known, is_wanted
from app.api.openapi import ref
from app.api.problems import problems
from app.api.request_figures import waiting_as_asked
from app.api.rights import changes_within_reach, reads_within_reach
from app.errors import DocumentNotFound, EncodedBody, InvalidRequest, PayloadTooLarge, PreconditionFailed
from app.jobs.ingestion_job import process_ingestion
from app.models import backlog
from app.models.attempt import Attempt
from app.models.document import Document
from app.models.event_log import EventFilter
from app.models.listing import listed
from app.models.reach import Reach
from app.models.sql import transaction
from app.schemas.document import (
    AttemptResponse,
    AttemptsResponse,
    DocumentPage,
    DocumentPatch,
    DocumentResponse,
    ListQuery,
    RetryFilter,
    RetryResponse,
)
from app.schemas.ingest import check_metadata
from app.services.event_hub import EventHub, Listener

router = APIRouter(tags=["documents"], route_class=CallRoute)

MAX_WAIT_S = 60

#: Attempts that are shown, the newest; only people who retry for ever can make more.
MAX_ATTEMPTS = 1000

#: Documents that one statement queues again.
RETRY_BATCH = 1000

#: Who waits for a document looks at it so often, whatever the events say: they may be out of reach.
LOOK_ANYWAY_S = 5.0


ANSWERED: dict[int | str, dict[str, Any]] = {200: {"model": DocumentResponse, "headers": ETAG}}


def answered(document: Document, *, if_none_match: str | None = None) -> Response:
    """A document with its `ETag`, which is made of the whole answer: it changes whenever that does."""
    body = DocumentResponse.of(document).model_dump_json().encode()
    headers = {"etag": _tag_of(body)}
    if is_known(headers["etag"], if_none_match):
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


def _tag_of(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def _require(document: Document, if_match: str | None) -> None:
    if if_match is not None:
        body = DocumentResponse.of(document).model_dump_json().encode()
        if not is_wanted(_tag_of(body), if_match):
            raise PreconditionFailed(document.id)


@router.get(
    "/documents/{document_id}",
    response_class=Response,
    responses={
        **ANSWERED,
        304: {"description": "`If-None-Match` has it already"},
        **problems(DocumentNotFound, InvalidRequest),
    },
)
@reads_within_reach
async def get_document(
    request: Request,
    document_id: UUID,
    resources: Resources,
    wait: Annotated[
        float, Query(ge=0, le=MAX_WAIT_S, description="Seconds to wait for a final status before answering.")
    ] = 0,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """A document as it is now; with `wait`, as soon as it is final."""
    document = await _final_or_late(request, document_id, wait, resources.events)
    return answered(document, if_none_match=if_none_match)


async def _final_or_late(request: Request, document_id: UUID, wait_s: float, events: EventHub) -> Document:
    access = access_of(request)
    document = await known(document_id, access.reach)
    if document.is_final or wait_s <= 0:
        return document
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_s
    wanted = EventFilter(document_id=document_id)
    async with events.listening(wanted) as listener, access.watched(listener.cut_off):
        while True:
            await access.require_open()
            document = await known(document_id, access.reach)
            left_s = deadline - loop.time()
            if document.is_final or left_s <= 0 or not listener.is_open:
                return document
            try:
                with waiting_as_asked(request.scope):
                    await _has_ended(listener, min(left_s, LOOK_ANYWAY_S))
            except asyncio.CancelledError:
                return document  # The server stops: who waits gets what there is.


async def _has_ended(listener: Listener, within_s: float) -> None:
    """Wait for a final event, or as long as that; or until the listener ends."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    while listener.is_open and (left_s := deadline - loop.time()) > 0:
        batch = await listener.next(left_s)
        if batch is not None and any(change.is_final for change in batch.changes):
            return


async def known(document_id: UUID, reach: Reach) -> Document:
    """The document of this id.

    Raises:
        DocumentNotFound: There is none within reach.
    """
    document = await Document.find(document_id, reach)
    if document is None:
        raise DocumentNotFound(document_id)
    return document


@router.get("/documents", responses=problems(InvalidRequest))
@reads_within_reach
async def list_documents(asked: Annotated[ListQuery, Query()], reach: Within) -> DocumentPage:
    """Documents, newest first; each filter narrows what the others leave.

    A page costs as much on the hundredth as on the first, and new documents do not shift the pages that a
    cursor leads to. `q` alone has no index: it reads documents until the page is full, which for a rare word
    is all that the other filters leave (about 0.2 s for 100,000).
    """
    after = None if asked.cursor is None else Cursor.decode(asked.cursor)
    documents = await listed(asked.filter(), reach, after=after, limit=asked.limit + 1)
    page, more = documents[: asked.limit], documents[asked.limit :]
    return DocumentPage(
        documents=[DocumentResponse.of(document) for document in page],
        next_cursor=Cursor.after(page[-1]).encode() if more else None,
    )


@router.get("/documents/{document_id}/attempts", responses=problems(DocumentNotFound, InvalidRequest))
@reads_within_reach
async def list_attempts(document_id: UUID, reach: Within) -> AttemptsResponse:
    """What became of each attempt, oldest first; the last one may be under way."""
    await known(document_id, reach)
    attempts = await Attempt.filter(document_id=document_id).order_by("-attempt").limit(MAX_ATTEMPTS)
    return AttemptsResponse(attempts=[AttemptResponse.of(attempt) for attempt in reversed(attempts)])


@router.post("/documents/retry", responses=problems(InvalidRequest))
@changes_within_reach
async def retry_documents(chosen: RetryFilter, reach: Within) -> RetryResponse:
    """Queue FAILED documents again, with all their tries. Without a filter, all of them.

    Safe to repeat: what is queued is not FAILED any more. Workers begin with them within seconds.
    """
    retried = 0
    while retried < chosen.limit:
        batch = min(RETRY_BATCH, chosen.limit - retried)
        queued = await backlog.retry_failed(chosen.failed(), reach, limit=batch)
        retried += queued
        if queued < batch:
            break
    return RetryResponse(retried=retried, has_more=retried == chosen.limit)


@router.post(
    "/documents/{document_id}/retry",
    response_class=Response,
    responses={**ANSWERED, **problems(DocumentNotFound, InvalidRequest)},
)
@changes_within_reach
async def retry_document(document_id: UUID, doorbell: Bell, reach: Within) -> Response:
    """Queue a FAILED document again, with all its tries. In any other status, nothing is done."""
    await known(document_id, reach)
    if await Document.retry(document_id):
        await doorbell.ring(process_ingestion.send, document_id)
    return answered(await known(document_id, reach))


@router.post(
    "/documents/{document_id}/cancel",
    response_class=Response,
    responses={**ANSWERED, **problems(DocumentNotFound, InvalidRequest)},
)
@changes_within_reach
async def cancel_document(document_id: UUID, reach: Within) -> Response:
    """Give up a document that is not final yet: it is FAILED with the code `cancelled`.

    A worker that has it in hand notices at its next beat, and can write nothing from this moment on.
    """
    await known(document_id, reach)
    await Document.cancel(document_id)
    return answered(await known(document_id, reach))


@router.patch(
    "/documents/{document_id}",
    response_class=Response,
    openapi_extra={
        "requestBody": {"content": {"application/merge-patch+json": {"schema": ref("DocumentPatch")}}}
    },
    responses={
        **ANSWERED,
        **problems(DocumentNotFound, EncodedBody, InvalidRequest, PayloadTooLarge, PreconditionFailed),
    },
)
@changes_within_reach
async def patch_document(
    document_id: UUID, patch: DocumentPatch, reach: Within, if_match: IfMatch = None
) -> Response:
    """Change the title and the metadata of a document in any status; searches show it at once.

    Without `If-Match`, the last one to write wins. An update with a title or with metadata of its own
    replaces those; one without leaves what was patched.
    """
    async with transaction():
        document = await Document.locked(document_id, reach)
        if document is None:
            raise DocumentNotFound(document_id)
        _require(document, if_match)
        if patch.model_fields_set:
            document = await document.amend(patch.model_dump(exclude_unset=True), check=_checked)
    return answered(document)


def _checked(metadata: Mapping[str, Any]) -> None:
    try:
        check_metadata(metadata)
    except ValueError as error:
        raise InvalidRequest(f"The result of the patch is wrong: {error}.") from error


@router.delete(
    "/documents/{document_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problems(DocumentNotFound, InvalidRequest, PreconditionFailed),
)
@changes_within_reach
async def delete_document(
    document_id: UUID, resources: Resources, reach: Within, if_match: IfMatch = None
) -> Response:
    """Remove a document in any status: its chunks, its content and every trace of it."""
    if if_match is None:
        removed = await Document.remove(document_id, reach)
    else:
        async with transaction():
            if document := await Document.locked(document_id, reach):
                _require(document, if_match)
            removed = await Document.remove(document_id, reach)
    if removed is None:
        raise DocumentNotFound(document_id)
    if removed.content_key is not None:
        await resources.store.delete(removed.content_key)
    return Response(status_code=status.HTTP_204_NO_CONTENT)
