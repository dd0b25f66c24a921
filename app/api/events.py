"""`GET /events` and `GET /documents/{id}/events`: what happens, as it happens."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Query, Response
from pydantic import AfterValidator

from app.api.call_route import CallRoute
from app.api.dependencies import CallAccess, Resources
from app.api.event_stream import EventStream, replayed, told_of_one, told_to
from app.api.problems import problems
from app.api.rights import reads_within_reach
from app.errors import DocumentNotFound, EventsExpired, InvalidRequest
from app.models import event_log
from app.models.batch import Batch
from app.models.document_status import DocumentStatus
from app.models.event_log import EventFilter, Place
from app.schemas.ingest import StorableText, at_most_bytes

router = APIRouter(tags=["events"], route_class=CallRoute)

DESCRIPTION = """Server-sent events, until you hang up: `ready` when listening has begun, `document`
(`DocumentEvent`) whenever a document changes its status or stage or is deleted, `progress` (`ProgressEvent`)
in between, and a comment every 15 s."""

#: An event, by the fields that it has on the wire: OpenAPI has no other word for a stream of them yet.
EVENT: dict[str, Any] = {
    "type": "object",
    "required": ["event", "data"],
    "properties": {
        "event": {"enum": ["ready", "document", "progress"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
        "id": {"type": "string", "description": "At the last of those that were found together."},
        "retry": {"type": "integer", "description": "Milliseconds to wait before coming again."},
    },
    "examples": [{"event": "ready", "id": "812:812:", "data": "{}"}],
}
STREAM: dict[int | str, dict[str, Any]] = {
    200: {"description": DESCRIPTION, "content": {"text/event-stream": {"schema": EVENT}}}
}

LastEventID = Annotated[
    str | None,
    Header(
        max_length=64 * 1024,
        description="The `id` of an event: go on after it, and tell first what came since.",
    ),
]


async def _place_of(last_event_id: str | None) -> Place | None:
    """Where somebody left off.

    Raises:
        InvalidRequest: It is no id of an event.
        EventsExpired: What came after it is not kept any more.
    """
    if not last_event_id:
        return None
    try:
        place = Place.parse(last_event_id)
    except ValueError as error:
        raise InvalidRequest("`Last-Event-ID` is none that this service gave out.") from error
    if not await event_log.is_kept_after(place):
        raise EventsExpired
    return place


@router.get(
    "/events", response_class=Response, responses={**STREAM, **problems(InvalidRequest, EventsExpired)}
)
@reads_within_reach
async def get_events(
    *,
    resources: Resources,
    access: CallAccess,
    collection: Annotated[
        list[Annotated[StorableText, AfterValidator(at_most_bytes(200))]] | None,
        Query(max_length=100, description="Only of documents in these."),
    ] = None,
    status: Annotated[
        list[DocumentStatus] | None,
        Query(max_length=20, description="Only changes to these; deletions are told in any case."),
    ] = None,
    batch: Annotated[
        UUID | None, Query(description="Only of documents that came, new or known, with this batch.")
    ] = None,
    last_event_id: LastEventID = None,
) -> EventStream:
    """What happens to documents, from now on or from `Last-Event-ID` on.

    `id` stands at the last of the events that were found together. Who comes again with it misses nothing and
    hears nothing twice; what had come after it comes again. Whoever reads too slowly is cut off.
    """
    after = await _place_of(last_event_id)
    wanted = EventFilter(
        collections=access.reach.narrowed(collection or None),
        statuses=frozenset(status) if status else None,
        batch_id=batch,
    )
    if batch is not None and await Batch.is_hidden(batch, access.reach):
        wanted = replace(wanted, collections=frozenset())  # Of this batch, as of none, nothing is told.
    listener = await resources.events.join(wanted)
    return EventStream(told_to(listener, after), listener.cut_off, access)


@router.get(
    "/documents/{document_id}/events",
    response_class=Response,
    responses={**STREAM, **problems(DocumentNotFound, InvalidRequest, EventsExpired)},
)
@reads_within_reach
async def get_document_events(
    document_id: UUID,
    resources: Resources,
    access: CallAccess,
    last_event_id: LastEventID = None,
) -> EventStream:
    """What happens to one document: first how it is, or what came after `Last-Event-ID`.

    The stream ends with its final state, or its deletion.
    """
    after = await _place_of(last_event_id)
    wanted = EventFilter(document_id=document_id, collections=access.reach.collections)
    listener = await resources.events.join(wanted)
    with ExitStack() as opened:
        opened.callback(listener.cut_off)
        pages = [page async for page in replayed(listener.wanted, after, listener.begins_at)]
        missed = [change for changes, _ in pages for change in changes]
        seen, present = await event_log.present(document_id, access.reach)
        if present is None and not missed:
            raise DocumentNotFound(document_id)
        blocks = told_of_one(listener, after, missed, present, seen)
        return EventStream(blocks, opened.pop_all().close, access)
