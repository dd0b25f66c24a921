"""Reads the log of events once for all who listen in this process."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import asyncpg
import structlog

from app.core.database import UNREACHABLE
from app.core.tasks import end
from app.models import event_log
from app.models.event_log import Change, EventFilter, Place
from app.services.progress import Step
from app.services.progress_feed import ProgressFeed

log = structlog.get_logger(__name__)

#: Between two looks at the log. Whoever has just come often waits for what is about to happen, so the first
#: looks after that come sooner.
EVERY_S = 0.05
SOON_S = 0.02
GROWTH = 1.5

#: Between two tries while the database is away.
AWAY_S = 0.5

#: What may wait for a listener who does not take it, before he is cut off: events, and looks with some.
MOST_EVENTS = 10_000
MOST_NEWS = 500


@dataclass(slots=True, eq=False)
class News:
    """What one look has found for all who want the same."""

    changes: Sequence[Change]
    steps: Sequence[Step]
    place: Place  # The one that a listener is at, who was told all this.
    _encoded: bytes | None = field(default=None, repr=False)

    def encoded(self, encode: Callable[[News], bytes]) -> bytes:
        """The news on the wire, made by whoever needs it first."""
        if self._encoded is None:
            self._encoded = encode(self)
        return self._encoded


class Listener:
    """Somebody who is told what his filter lets through."""

    def __init__(self, hub: EventHub, wanted: EventFilter, begins_at: Place) -> None:
        self.wanted = wanted
        self.begins_at = begins_at
        self.is_open = True
        self._hub = hub
        self._waiting: deque[News] = deque()
        self._events = 0
        self._news = asyncio.Event()

    async def next(self, timeout_s: float) -> News | None:
        """The next news; None when nothing came in time, or nothing comes any more (`is_open`)."""
        if not self._waiting and self.is_open:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._news.wait()
        if not self._waiting:
            return None
        news = self._waiting.popleft()
        self._events -= len(news.changes)
        if not self._waiting and self.is_open:
            self._news.clear()
        return news

    @property
    def place(self) -> Place | None:
        """Where he is while nothing waits for him."""
        return None if self._waiting else self._hub.place

    def put(self, news: News) -> None:
        """Hand it over. Whoever leaves too much lying is cut off, and comes again for the rest."""
        if self._events + len(news.changes) > MOST_EVENTS or len(self._waiting) >= MOST_NEWS:
            log.info("listener_cut_off", waiting=self._events)
            self.cut_off()
            return
        self._waiting.append(news)
        self._events += len(news.changes)
        self._news.set()

    def cut_off(self) -> None:
        """Nothing more comes, nor what waits already; safe to repeat."""
        self._waiting.clear()
        self._hub.leave(self)

    def end(self) -> None:
        """Nothing comes after what waits already."""
        self.is_open = False
        self._news.set()


class EventHub:
    """One query twenty times a second while anybody listens, on a connection of its own, and none else.

    While the database is away listeners stay, and are told afterwards what they missed.

    Args of the constructor:
        connect: Makes the connection.
        feed: The progress of documents.
    """

    def __init__(self, connect: Callable[[], Awaitable[asyncpg.Connection]], feed: ProgressFeed) -> None:
        self._connect = connect
        self._feed = feed
        self._connection: asyncpg.Connection | None = None
        self._listeners: dict[EventFilter, set[Listener]] = defaultdict(set)
        self._task: asyncio.Task[None] | None = None
        self._opening = asyncio.Lock()
        self._pause_s = SOON_S
        self.place: Place | None = None
        self.looks = 0  # Queries that were sent.
        self.is_closed = False

    @property
    def listeners(self) -> int:
        """How many listen just now."""
        return sum(map(len, self._listeners.values()))

    # --- who listens ----------------------------------------------------------------------------------------

    @asynccontextmanager
    async def listening(self, wanted: EventFilter) -> AsyncIterator[Listener]:
        """Listen for as long as the block lasts."""
        listener = await self.join(wanted)
        try:
            yield listener
        finally:
            self.leave(listener)

    async def join(self, wanted: EventFilter) -> Listener:
        """Listen, from `begins_at` on, until `leave`.

        Raises:
            DatabaseUnavailable, or what the driver raises: Nobody listened, and the database is away.
        """
        async with self._opening:
            if self.place is None:
                self.place = await event_log.here()
        # No waiting from here on: the next look begins at this place, and finds the listener.
        listener = Listener(self, wanted, self.place)
        if self.is_closed:
            listener.end()
            return listener
        self._listeners[wanted].add(listener)
        self._pause_s = SOON_S
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="event_hub")
        return listener

    def leave(self, listener: Listener) -> None:
        """Listen no more; safe to repeat."""
        listener.end()
        others = self._listeners.get(listener.wanted)
        if others is not None:
            others.discard(listener)
            if not others:
                del self._listeners[listener.wanted]

    def end_all(self) -> None:
        """Tell everybody, and whoever still comes, that nothing more comes: this process stops."""
        self.is_closed = True
        for listener in self._all():
            self.leave(listener)

    async def close(self) -> None:
        """End everybody, and let go of the connections."""
        self.end_all()
        if self._task is not None:
            await end(self._task)
        self._disconnect()

    def _all(self) -> list[Listener]:
        return [listener for some in self._listeners.values() for listener in some]

    # --- looking --------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        is_away = False
        try:
            while self._listeners:  # Again, as somebody may come while the feed is let go.
                async with self._feed.listening():
                    while self._listeners:
                        await asyncio.sleep(AWAY_S if is_away else self._pause_s)
                        is_away = not await self._try_to_look(is_away=is_away)
        finally:
            # Nothing waits between the last look at `_listeners` and this: whoever joins now starts anew.
            self._task, self.place = None, None

    async def _try_to_look(self, *, is_away: bool) -> bool:
        try:
            await self._look()
        except (*UNREACHABLE, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            if not is_away:
                log.warning("events_unreadable", error=str(error) or type(error).__name__)
            self._disconnect()
            return False
        except Exception:
            log.exception("events_unreadable")
            self._disconnect()
            return False
        return True

    async def _look(self) -> None:
        assert self.place is not None
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._connect()
        run = self._connection.fetch
        with_batches = self._wants_batches()
        self.looks += 1
        changes, place, has_more = await event_log.read(self.place, with_batches=with_batches, run=run)
        if not with_batches and self._wants_batches():
            return  # Somebody has come meanwhile who could not tell which of these are his: read them again.
        if place.end < self.place.end:
            # Another server, which is behind the one that we knew: nobody's place means anything to it.
            for listener in self._all():
                self.leave(listener)
            return
        self._pause_s = SOON_S if has_more else min(self._pause_s * GROWTH, EVERY_S)
        changes = self._feed.learn(changes, with_batches=with_batches)
        self._deliver(changes, await self._feed.take(self._listeners, run), place)

    def _deliver(self, changes: Sequence[Change], steps: Iterable[Step], place: Place) -> None:
        self.place = place
        changes_of, steps_of = defaultdict(list), defaultdict(list)
        for change in changes:
            changes_of[change.document_id].append(change)
        for step in steps:
            steps_of[step.document_id].append(step)
        for wanted, listeners in list(self._listeners.items()):
            of = wanted.document_id
            news = News(
                [each for each in (changes if of is None else changes_of[of]) if wanted.wants(each)],
                [
                    each
                    for each in (steps if of is None else steps_of[of])
                    if self._feed.is_wanted(each, wanted)
                ],
                place,
            )
            if news.changes or news.steps:
                for listener in list(listeners):
                    listener.put(news)

    def _wants_batches(self) -> bool:
        return any(wanted.batch_id is not None for wanted in self._listeners)

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()
