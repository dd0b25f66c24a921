"""Live events as server-sent events (WHATWG HTML, "Server-sent events")."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

from starlette.types import Receive, Scope, Send

from app.api.access import Access
from app.api.streams import Stream
from app.models import event_log
from app.models.event_log import Change, EventFilter, Place
from app.schemas.event import DocumentEvent, ProgressEvent
from app.services.event_hub import Listener, News

#: How often somebody who hears nothing else is told that the connection is alive.
BEAT_S = 15.0

#: How soon a browser's EventSource comes again; ours and the client decide by themselves.
COME_AGAIN_MS = 1000


class EventStream(Stream):
    """An answer that ends when its listener does.

    Args of the constructor:
        blocks: The body.
        leave: Called when nobody reads any more, also if nobody ever did; and to end the body, when nobody
            may read any more.
        access: Of whoever reads.
    """

    def __init__(self, blocks: AsyncIterator[bytes], leave: Callable[[], None], access: Access) -> None:
        super().__init__(
            blocks,
            media_type="text/event-stream",
            # Proxies would gather events until there are enough of them (nginx, by the second one).
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )
        self._leave = leave
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with self._access.watched(self._leave):
                await super().__call__(scope, receive, send)
        finally:
            self._leave()


# --- blocks -------------------------------------------------------------------------------------------------


def ready(place: Place) -> bytes:
    """Listening has begun."""
    return f"retry: {COME_AGAIN_MS}\nevent: ready\nid: {place}\ndata: {{}}\n\n".encode()


def beat(place: Place | None) -> bytes:
    """A sign of life; with the place, so that who hears little does not begin far back."""
    return b": beat\n\n" if place is None else f": beat\nid: {place}\n\n".encode()


def changes_told(changes: Sequence[Change], place: Place | None) -> bytes:
    """Changes; the place stands at the last one, as only who has them all is there."""
    blocks = [f"event: document\ndata: {DocumentEvent.of(each).model_dump_json()}\n" for each in changes]
    if blocks and place is not None:
        blocks[-1] = f"id: {place}\n{blocks[-1]}"
    return "".join(f"{block}\n" for block in blocks).encode()


def news_told(news: News) -> bytes:
    """All of it, as it goes to a listener."""
    steps = (f"event: progress\ndata: {ProgressEvent.of(each).model_dump_json()}\n\n" for each in news.steps)
    return changes_told(news.changes, news.place) + "".join(steps).encode()


# --- streams ------------------------------------------------------------------------------------------------


async def told_to(listener: Listener, after: Place | None) -> AsyncIterator[bytes]:
    """What happened after a place, or from now on, until the listener ends."""
    yield ready(after or listener.begins_at)
    async for changes, place in replayed(listener.wanted, after, listener.begins_at):
        yield changes_told(changes, place)
        if not listener.is_open:
            return  # Cut off: he may not, or need not, be told the rest.
    while (news := await _next(listener)) is not None:
        yield news.encoded(news_told) if isinstance(news, News) else news


async def told_of_one(
    listener: Listener, after: Place | None, missed: Sequence[Change], present: Change | None, seen: Place
) -> AsyncIterator[bytes]:
    """A document's events, until it is final.

    Args:
        listener: Of this document.
        after: The place of somebody who comes again.
        missed: What happened since that place.
        present: How the document is at `seen`.
    """
    yield ready(after or listener.begins_at)
    if missed:
        yield changes_told(until_final(missed), listener.begins_at)
        if any(change.is_final for change in missed):
            return
    if present is not None and (after is None or present.is_final):
        yield changes_told([present], None)
        if present.is_final:
            return
    while (news := await _next(listener)) is not None:
        if isinstance(news, bytes):
            yield news
            continue
        # What the present state was made of is not news any more.
        new = until_final([change for change in news.changes if not seen.sees(change.xid)])
        yield news_told(News(new, news.steps, news.place))
        if any(change.is_final for change in new):
            return


def until_final(changes: Sequence[Change]) -> Sequence[Change]:
    """Up to the first that is final: what comes after that begins with somebody who starts it anew."""
    end = next((n for n, change in enumerate(changes, 1) if change.is_final), len(changes))
    return changes[:end]


async def replayed(
    wanted: EventFilter, after: Place | None, until: Place
) -> AsyncIterator[tuple[Sequence[Change], Place]]:
    """What happened between two places, page by page, each with the place behind it."""
    has_more = after is not None
    while has_more:
        assert after is not None
        changes, after, has_more = await event_log.read(
            after, until=until, wanted=wanted, with_batches=wanted.batch_id is not None
        )
        mine = [change for change in changes if wanted.wants(change)]
        if mine:
            yield mine, after


async def _next(listener: Listener) -> News | bytes | None:
    """What to tell next, be it that there is nothing; None when the listener has ended."""
    news = await listener.next(BEAT_S)
    if news is not None:
        return news
    return beat(listener.place) if listener.is_open else None
