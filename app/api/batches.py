"""`POST /ingest/batch`, and what became of it: `GET /batches/{batch_id}` and its items."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Annotated, Any
from uuid import UUID

import structlog
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send
from uuid_utils.compat import uuid7

from app.api.access import Access
from app.api.batch_items import batch_items
from app.api.call_route import CallRoute
from app.api.cursor import ItemCursor
from app.api.dependencies import Bell, CallAccess, Resources, Within
from app.api.openapi import ref
from app.api.problems import problems
from app.api.rights import changes_within_reach, reads_within_reach
from app.core.database import database_error
from app.errors import (
    BatchNotFound,
    CorruptFile,
    DatabaseFull,
    InvalidRequest,
    MalformedBody,
    PayloadTooLarge,
    RequestFailed,
    RequestTooSlow,
    ServiceError,
    StorageFull,
    UnknownBatchType,
)
from app.jobs.doorbell import Doorbell
from app.jobs.ingestion_job import process_ingestion
from app.models.batch import Batch, ItemResult, items_now
from app.models.reach import Reach
from app.schemas.batch import (
    BatchItemPage,
    BatchQuery,
    BatchResponse,
    BatchStatus,
    BatchSummary,
    ItemError,
    ItemResponse,
)
from app.services.batch_service import BatchService, Refused, told_plainly
from app.services.intake_service import Offer

log = structlog.get_logger(__name__)

router = APIRouter(tags=["batches"], route_class=CallRoute)

NDJSON = "application/x-ndjson"


def _request_body() -> dict[str, Any]:
    # The handler reads the body itself, as it comes; so FastAPI has to be told what may be in it.
    file = {"type": "string", "format": "binary"}
    form = {
        "type": "object",
        "required": ["file"],
        "properties": {
            "collection": {"type": "string", "description": "Of all files; before them."},
            "metadata": {"type": "string", "description": "A JSON object, of all files; before them."},
            "file": {"type": "array", "items": file},
        },
    }
    return {
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": form},
                NDJSON: {"schema": ref("IngestRequest"), "example": '{"text": "One."}\n{"text": "Two."}\n'},
                "application/zip": {"schema": file},
            },
        }
    }


@router.post(
    "/ingest/batch",
    openapi_extra=_request_body(),
    response_class=Response,
    responses={
        200: {
            "description": "What became of each; some of them may have been refused",
            "content": {
                "application/json": {"schema": ref("BatchResponse")},
                NDJSON: {"schema": ref("ItemResponse")},
            },
            "headers": {"Location": {"schema": {"type": "string"}, "description": "`/batches/{batch_id}`"}},
        },
        **problems(
            CorruptFile,
            DatabaseFull,
            InvalidRequest,
            PayloadTooLarge,
            RequestTooSlow,
            StorageFull,
            UnknownBatchType,
        ),
    },
)
@changes_within_reach
async def ingest_batch(
    request: Request,
    *,
    query: Annotated[BatchQuery, Query()],
    resources: Resources,
    doorbell: Bell,
    access: CallAccess,
    accept: Annotated[
        str, Header(description=f"With `{NDJSON}`, a line for each item as soon as it is durable.")
    ] = "*/*",
) -> Response:
    """Take many documents in: a form with many `file` parts, a document on each line, or a zip.

    Each is taken or refused for itself, with the rules of `POST /ingest`, and only told as taken when it is
    durable. So the status is 200 whatever became of them: the request was carried out, and how far is in
    the body. When nothing at all could be read, it is the problem that says why. Of a zip, what systems put
    beside the documents (`__MACOSX`, `.DS_Store`, `Thumbs.db`, `desktop.ini`) is passed over.
    """
    taking = _Taking(
        batch_id=uuid7(),
        service=resources.batches,
        items=batch_items(request, resources.settings, query),
        access=access,
        doorbell=doorbell,
    )
    headers = {"Location": f"/batches/{taking.batch_id}"}
    if NDJSON in accept:
        lines = taking.lines()
        first = await anext(lines)  # Until now, it can be refused as a whole.
        return _EarlyAnswer(_all(first, lines), media_type=NDJSON, headers=headers)
    items = [result async for results in taking.results() for result in results]
    answer = BatchResponse(
        items=[ItemResponse.of(item) for item in items], **taking.summary().model_dump()
    ).model_dump_json()
    return Response(answer, media_type="application/json", headers=headers)


class _Taking:
    """A batch while it is taken in."""

    def __init__(
        self,
        *,
        batch_id: UUID,
        service: BatchService,
        items: AsyncIterator[Offer | Refused],
        access: Access,
        doorbell: Doorbell,
    ) -> None:
        self.batch_id = batch_id
        self._service = service
        self._items = items
        self._access = access
        self._doorbell = doorbell
        self._created = self._known = self._failed = 0
        self._error: ServiceError | None = None
        self._ringing: asyncio.Task[None] | None = None

    async def results(self) -> AsyncIterator[Sequence[ItemResult]]:
        """What became of the items, a group at a time; then `summary` is right.

        Raises:
            ServiceError: Why there is not one item.
        """
        try:
            async with aclosing(self._groups()) as groups:  # type: ignore[type-var]
                async for results in groups:
                    self._count(results)
                    await self._ring(
                        {
                            item.document_id: item.message_id
                            for item in results
                            if item.queued and item.document_id
                        }
                    )
                    yield results
        except ServiceError as error:
            self._error = error
        except Exception as error:
            self._error = database_error(error)
            if self._error is None:
                log.exception("batch_failed", batch_id=str(self.batch_id))
                self._error = RequestFailed()
        if not self._created + self._known + self._failed:
            raise self._error or MalformedBody("There is no document in the body.")
        await self._close()

    def _groups(self) -> AsyncIterator[Sequence[ItemResult]]:
        return self._service.take(self.batch_id, self._while_open(), self._access.reach)

    async def _while_open(self) -> AsyncIterator[Offer | Refused]:
        """The items, for as long as the key of who sends them opens: a body may take hours to come."""
        async with aclosing(self._items) as items:  # type: ignore[type-var]
            async for item in items:
                await self._access.require_open()
                yield item

    async def _close(self) -> None:
        error = None if self._error is None else told_plainly(self._error)
        with suppress(Exception):  # Then housekeeping does it.
            await Batch.close(self.batch_id, error)
        if self._ringing is not None:
            await self._ringing

    def _count(self, results: Sequence[ItemResult]) -> None:
        for item in results:
            self._failed += item.error is not None
            self._created += item.created
            self._known += item.error is None and not item.created

    async def _ring(self, queued: Mapping[UUID, str | None]) -> None:
        """While the next group is read; but no more than one group is ever behind."""
        if self._ringing is not None:
            await self._ringing
            self._ringing = None
        if queued:
            ringing = self._doorbell.ring_all(process_ingestion.send, queued)
            self._ringing = asyncio.create_task(ringing)

    def summary(self) -> BatchSummary:
        """What became of all of it."""
        return BatchSummary(
            batch_id=self.batch_id,
            created=self._created,
            known=self._known,
            failed=self._failed,
            error=None if self._error is None else ItemError(**told_plainly(self._error)),
        )

    async def lines(self) -> AsyncIterator[bytes]:
        """The results as lines, and the summary as the last one.

        The body is read on whether the client takes these lines or not: many send all of theirs before they
        read anything, and would wait for us for ever as we for them.
        """
        written: asyncio.Queue[bytes | None] = asyncio.Queue()

        async def write() -> None:
            try:
                async for results in self.results():
                    lines = (ItemResponse.of(item).model_dump_json() + "\n" for item in results)
                    written.put_nowait("".join(lines).encode())
                written.put_nowait((self.summary().model_dump_json() + "\n").encode())
            finally:
                written.put_nowait(None)

        writing = asyncio.create_task(write())
        try:
            while (lines := await written.get()) is not None:
                yield lines
        finally:
            await asyncio.shield(writing)


async def _all(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for lines in rest:
        yield lines


class _EarlyAnswer(StreamingResponse):
    """Begins while the body comes, so does not read it itself to see whether its client is there."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        await self.stream_response(send)


@router.get("/batches/{batch_id}", responses=problems(BatchNotFound, InvalidRequest))
@reads_within_reach
async def get_batch(batch_id: UUID, reach: Within) -> BatchStatus:
    """How the documents of a batch are now, in numbers. It is forgotten a week after all are final."""
    batch = await _known(batch_id, reach)
    return BatchStatus.of(batch, await batch.tally())


@router.get("/batches/{batch_id}/items", responses=problems(BatchNotFound, InvalidRequest))
@reads_within_reach
async def list_batch_items(
    batch_id: UUID,
    reach: Within,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[
        str | None, Query(max_length=200, description="`next_cursor` of the page before.")
    ] = None,
) -> BatchItemPage:
    """The items of a batch in the order in which they came, with their documents' present status."""
    after = -1 if cursor is None else ItemCursor.decode(cursor).index
    await _known(batch_id, reach)
    items = await items_now(batch_id, after=after, limit=limit + 1)
    page, more = items[:limit], items[limit:]
    return BatchItemPage(
        items=[ItemResponse.of(item) for item in page],
        next_cursor=ItemCursor(page[-1].index).encode() if more else None,
    )


async def _known(batch_id: UUID, reach: Reach) -> Batch:
    batch = await Batch.find(batch_id, reach)
    if batch is None:
        raise BatchNotFound(batch_id)
    return batch
