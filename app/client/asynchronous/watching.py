"""Follows live events over broken connections; where a server has none, by looking again and again."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import timedelta

import httpx
from httpx_sse import EventSource

from app.client.answers import Document, DocumentPage, Event, Ready
from app.client.asynchronous.connection import AsyncConnection
from app.client.asynchronous.waiting import sleep
from app.client.calls import Call
from app.client.errors import ConnectionLost, DocumentNotFound, SluiceError
from app.client.events import Changes, Resumption, Wanted

#: The server gives a sign of life every 15 s; after three that did not come, the connection is dead.
SILENCE_S = 45.0

PAGE = 500


class NoLiveEvents(Exception):
    """The server has no such endpoint."""


class AsyncWatcher:
    """Events of documents, for as long as they are asked for."""

    def __init__(self, connection: AsyncConnection, *, poll_s: float) -> None:
        self._connection = connection
        self._poll_s = poll_s

    async def watch(self, wanted: Wanted, last_event_id: str | None) -> AsyncGenerator[Event, None]:
        """See `AsyncSluice.watch`."""
        try:
            async with aclosing(self.live(wanted, last_event_id)) as events:
                async for event in events:
                    yield event
        except NoLiveEvents:
            looks = self._documents(wanted) if wanted.document_id is None else self._document(wanted)
            async with aclosing(looks) as events:
                async for event in events:
                    yield event

    async def live(self, wanted: Wanted, last_event_id: str | None) -> AsyncGenerator[Event, None]:
        """Live events, over as many connections as it takes.

        Raises:
            NoLiveEvents: The server has none.
            EventsExpired: What came after `last_event_id` is not kept any more.
            ServerUnreachable: It was not to be reached again in as many tries as one call has.
        """
        resumption = Resumption(last_event_id)
        tries = 0
        while True:
            resumption.begin()
            error: SluiceError = ConnectionLost("The stream of events ended.")
            try:
                async with aclosing(self._connected(wanted, resumption)) as events:
                    async for event in events:
                        tries = 0
                        yield event
                        if wanted.is_over(event):
                            return
            except SluiceError as failure:
                error = failure
            tries += 1
            pause_s = self._connection.pause_s(tries, error)
            if pause_s is None:
                raise error
            await self._connection.pause(pause_s, error)

    async def _connected(self, wanted: Wanted, resumption: Resumption) -> AsyncGenerator[Event, None]:
        headers = {"accept": "text/event-stream", "cache-control": "no-store"}
        if resumption.last_event_id is not None:
            headers["last-event-id"] = resumption.last_event_id
        call = Call(
            method="GET",
            path=wanted.path,
            params=wanted.params,
            headers=headers,
            patience_s=SILENCE_S,
            document_id=wanted.document_id,
        )
        try:
            async with self._connection.streamed(call) as response:
                async for sent in EventSource(response).aiter_sse():
                    event = resumption.take(sent.event, sent.data, sent.id)
                    if event is not None:
                        yield event
        except SluiceError as error:
            if error.status == httpx.codes.NOT_FOUND and not isinstance(error, DocumentNotFound):
                raise NoLiveEvents from error
            raise

    # --- Without live events --------------------------------------------------------------------------------

    async def _document(self, wanted: Wanted) -> AsyncGenerator[Event, None]:
        changes = Changes(None)
        while True:
            call = Call(method="GET", path=f"/documents/{wanted.document_id}", document_id=wanted.document_id)
            document = await self._connection.get(Document, call)
            event = changes.take(document)
            if event is not None:
                yield event
            if document.is_final:
                return
            await sleep(self._poll_s)

    async def _documents(self, wanted: Wanted) -> AsyncGenerator[Event, None]:
        """What is under way, what is new, and what was under way and is no more, look by look."""
        changes = Changes(wanted.statuses)
        newest = await self._page(wanted, limit=1)
        for document in newest.documents:
            changes.newest_at = document.created_at
        async for document in self._pages(wanted, status=["PENDING", "PROCESSING"]):
            changes.take(document)  # How things are is no event.
        yield Ready()
        while True:
            await sleep(self._poll_s)
            seen = set()
            # Documents of the same moment may have come after the last look.
            after = changes.newest_at and changes.newest_at + timedelta(microseconds=1)
            for filters in ({"created_after": after}, {"status": ["PENDING", "PROCESSING"]}):
                async for document in self._pages(wanted, **filters):
                    seen.add(document.document_id)
                    event = changes.take(document)
                    if event is not None:
                        yield event
            for document_id in changes.gone_from(seen):
                call = Call(method="GET", path=f"/documents/{document_id}", document_id=document_id)
                try:
                    event = changes.take(await self._connection.get(Document, call))
                except DocumentNotFound:
                    event = changes.deleted(document_id)
                if event is not None:
                    yield event

    async def _pages(self, wanted: Wanted, **filters: object) -> AsyncGenerator[Document, None]:
        cursor = None
        while True:
            page = await self._page(wanted, limit=PAGE, cursor=cursor, **filters)
            for document in page.documents:
                if not wanted.collections or document.collection in wanted.collections:
                    yield document
            cursor = page.next_cursor
            if cursor is None:
                return

    async def _page(self, wanted: Wanted, **filters: object) -> DocumentPage:
        one = wanted.collections[0] if wanted.collections and len(wanted.collections) == 1 else None
        params = {"collection": one, "batch_id": wanted.batch_id, **filters}
        return await self._connection.get(DocumentPage, Call(method="GET", path="/documents", params=params))
