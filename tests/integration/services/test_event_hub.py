"""The log of events and those who listen to it, against a real PostgreSQL and a real Valkey."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import asyncpg
import pytest

from app.core import progress_channel
from app.core.config import Settings
from app.core.database import connect, database
from app.core.progress_channel import REDIS_UNREACHABLE, ProgressChannel
from app.core.tasks import end
from app.models import acceptance, event_log
from app.models.acceptance import NewDocument
from app.models.batch import Batch, ItemResult
from app.models.document import Document, Stage
from app.models.document_status import DocumentStatus
from app.models.event_log import Change, EventFilter, Place
from app.models.reach import EVERYTHING
from app.models.sql import fetch
from app.services import event_hub, progress
from app.services.event_hub import EventHub, Listener
from app.services.housekeeping import forget_events
from app.services.leases import Leases
from app.services.progress import ProgressTeller, Step
from app.services.progress_feed import ProgressFeed
from tests.support import emptied_database, indexing

ALL = EventFilter()


@pytest.fixture(autouse=True)
async def opened(settings: Settings, migrated: None) -> AsyncIterator[None]:
    async with database(settings):
        await emptied_database()
        yield


@pytest.fixture
async def channel(settings: Settings) -> AsyncIterator[ProgressChannel]:
    async with ProgressChannel(settings.REDIS_URL) as channel:
        yield channel


class Connections:
    """Those of a hub, with what it asked."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.queries: list[str] = []

    async def connect(self) -> asyncpg.Connection:
        connection = await connect(self.settings)
        connection.add_query_logger(lambda record: self.queries.append(record.query))
        return connection


@pytest.fixture
def connections(settings: Settings) -> Connections:
    return Connections(settings)


@pytest.fixture
async def hub(connections: Connections, channel: ProgressChannel) -> AsyncIterator[EventHub]:
    hub = EventHub(connections.connect, ProgressFeed(channel))
    yield hub
    await hub.close()


async def accepted(number: int = 0, *, collection: str = "default") -> UUID:
    new = NewDocument(
        sha256=f"{number:064d}", size_bytes=1, media_type="text/plain", content=b"x", collection=collection
    )
    return (await acceptance.accept(new)).document_id


async def told(listener: Listener, count: int) -> list[Change]:
    """The next changes, so many."""
    changes: list[Change] = []
    async with asyncio.timeout(10):
        while len(changes) < count:
            batch = await listener.next(10)
            assert batch is not None
            changes += batch.changes
    return changes


def states(changes: Sequence[Change]) -> list[tuple[str | None, str | None]]:
    return [(change.status, change.stage) for change in changes]


async def everything_after(place: Place, until: Place | None = None) -> list[Change]:
    """Read in pages, as who comes again does."""
    until = until or await event_log.here()
    changes: list[Change] = []
    has_more = True
    while has_more:
        page, place, has_more = await event_log.read(place, until=until)
        changes += page
    assert place == until
    return changes


# --- the log -----------------------------------------------------------------------------------------------


async def test_every_move_is_logged_once_and_beats_and_notes_are_not() -> None:
    before = await event_log.here()
    document_id = await accepted()
    await accepted()  # Known already.
    held = await Document.claim(document_id, owner="a", lease_s=30)
    assert held is not None
    held.enter(Stage.EMBEDDING, unit="chunks", total=9)
    held.progress_done = 4
    connection = await connect_of_default()
    for done in (4, 5):
        held.progress_done = done
        await Document.beat(connection, [held], lease_s=30)
    await connection.close()
    assert await held.complete(indexing("The upper gate opens at six."))
    new = NewDocument(sha256="f" * 64, size_bytes=2, media_type="text/plain", content=b"xy", external_id="e")
    other_id = (await acceptance.accept(new)).document_id
    await Document.cancel(other_id)
    await Document.retry(other_id)
    await Document.remove(document_id, EVERYTHING)

    changes = await everything_after(before)

    mine = [change for change in changes if change.document_id == document_id]
    assert states(mine) == [
        ("PENDING", "queued"),
        ("PROCESSING", "parsing"),
        ("PROCESSING", "embedding"),
        ("COMPLETED", None),
        (None, None),
    ]
    assert (mine[2].progress_unit, mine[2].progress_done, mine[2].progress_total) == ("chunks", 4, 9)
    assert mine[3].chunk_count > 0
    others = [change for change in changes if change.document_id == other_id]
    assert states(others) == [("PENDING", "queued"), ("FAILED", None), ("PENDING", "queued")]
    assert others[1].error is not None
    assert others[1].error["code"] == "cancelled"
    assert others[1].external_id == "e"


async def connect_of_default() -> asyncpg.Connection:
    from app.core.config import get_settings

    return await connect(get_settings())


async def test_from_every_place_exactly_the_rest_is_read_also_page_by_page_and_after_late_commits(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setattr(event_log, "PAGE", 2)
    late_id = await accepted(99)
    late = await connect(settings)
    places = [await event_log.here()]
    transaction = late.transaction()
    await transaction.start()
    await late.execute("UPDATE documents SET stage = 'retry_wait' WHERE id = $1", late_id)
    for number in range(5):
        await accepted(number)
        places.append(await event_log.here())
    await transaction.commit()
    await late.close()
    places.append(await event_log.here())

    events = {change.id for change in await everything_after(places[0])}
    assert len(events) == 6
    for place in places:
        after = [change.id for change in await everything_after(place)]
        before = [change.id for change in await everything_after(places[0], place)]
        assert sorted(before + after) == sorted(events)
        assert Place.parse(str(place)) == place
    # What was under way at the fifth place is behind it, though it was written before what is not.
    assert late_id in {change.document_id for change in await everything_after(places[5])}


async def test_what_is_old_is_forgotten_and_who_comes_for_it_is_told_so() -> None:
    before = await event_log.here()
    await accepted(0)
    between = await event_log.here()
    await fetch("UPDATE document_events SET at = at - interval '25 h' RETURNING id")
    await accepted(1)

    await forget_events(24)

    assert not await event_log.is_kept_after(before)
    assert await event_log.is_kept_after(between)
    assert len(await everything_after(between)) == 1
    ahead = Place(between.end + 1_000_000)
    assert not await event_log.is_kept_after(ahead)  # Of another database.


async def test_what_a_restored_dump_brings_is_not_told_and_goes() -> None:
    before = await event_log.here()
    await accepted()
    await fetch("UPDATE document_events SET xid = (xid::text::bigint + 1000000)::text::xid8 RETURNING id")

    assert await everything_after(before) == []
    await forget_events(24)
    assert await fetch("SELECT FROM document_events") == []


# --- the hub -----------------------------------------------------------------------------------------------


async def test_a_commit_that_comes_late_is_told_and_holds_nothing_up(
    hub: EventHub, settings: Settings
) -> None:
    late_id = await accepted(0)
    async with hub.listening(ALL) as listener:
        late = await connect(settings)
        transaction = late.transaction()
        await transaction.start()
        await late.execute("UPDATE documents SET stage = 'retry_wait' WHERE id = $1", late_id)
        other_id = await accepted(1)
        assert [change.document_id for change in await told(listener, 1)] == [other_id]
        await accepted(2)
        await told(listener, 1)
        await transaction.commit()
        await late.close()
        assert [change.document_id for change in await told(listener, 1)] == [late_id]


async def test_each_listener_is_told_what_its_filter_lets_through(hub: EventHub) -> None:
    batch_id = uuid4()
    a, b = await accepted(1, collection="a"), await accepted(2, collection="b")
    item = ItemResult(index=0, document_id=b, status=DocumentStatus.PENDING, created=True)
    await Batch.note(batch_id, [item], EVERYTHING)
    filters = {
        "all": ALL,
        "b": EventFilter(document_id=b),
        "in a": EventFilter(collections=frozenset({"a", "z"})),
        "failed": EventFilter(statuses=frozenset({DocumentStatus.FAILED})),
        "batch": EventFilter(batch_id=batch_id),
    }
    async with AsyncExitStack() as stack:
        listeners = {
            name: await stack.enter_async_context(hub.listening(wanted)) for name, wanted in filters.items()
        }
        for document_id in (a, b):
            await Document.cancel(document_id)
            await Document.retry(document_id)
        await told(listeners["all"], 4)
        for document_id in (a, b):
            await Document.remove(document_id, EVERYTHING)

        heard = {}
        for name, count in {"all": 2, "b": 3, "in a": 3, "failed": 4, "batch": 3}.items():
            heard[name] = [(each.document_id, each.status) for each in await told(listeners[name], count)]
    assert heard == {
        "all": [(a, None), (b, None)],
        "b": [(b, "FAILED"), (b, "PENDING"), (b, None)],
        "in a": [(a, "FAILED"), (a, "PENDING"), (a, None)],
        "failed": [(a, "FAILED"), (b, "FAILED"), (a, None), (b, None)],
        "batch": [(b, "FAILED"), (b, "PENDING"), (b, None)],
    }


class HeldUp:
    """A connection whose questions are sent when they are let go."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self.is_asked, self.go_on = asyncio.Event(), asyncio.Event()

    async def fetch(self, query: str, *values: object) -> Any:
        self.is_asked.set()
        await self.go_on.wait()
        return await self._connection.fetch(query, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


async def test_who_comes_for_a_batch_during_a_look_is_told_what_that_look_finds(
    connections: Connections, channel: ProgressChannel
) -> None:
    held_up = HeldUp(await connections.connect())

    async def connect_held_up() -> Any:
        return held_up

    hub = EventHub(connect_held_up, ProgressFeed(channel))
    document_id, batch_id = await accepted(), uuid4()
    item = ItemResult(index=0, name="n", document_id=document_id, status="PENDING", created=True, queued=True)
    await Batch.note(batch_id, [item], EVERYTHING)
    async with hub.listening(ALL):
        await held_up.is_asked.wait()  # By a look that asks for no batches: nobody wants any yet.
        await Document.cancel(document_id)
        async with hub.listening(EventFilter(batch_id=batch_id)) as mine:
            held_up.go_on.set()
            assert states(await told(mine, 1)) == [("FAILED", None)]
    await hub.close()


async def test_a_thousand_listeners_cost_one_query_a_look_and_none_costs_none(
    hub: EventHub, connections: Connections
) -> None:
    document_id = await accepted()
    async with AsyncExitStack() as stack:
        listeners = [
            await stack.enter_async_context(
                hub.listening(ALL if number % 2 else EventFilter(document_id=document_id))
            )
            for number in range(1000)
        ]
        await Document.cancel(document_id)
        for listener in listeners:
            assert states(await told(listener, 1)) == [("FAILED", None)]
        asked = [query for query in connections.queries if "document_events" in query]
        assert 0 < len(asked) == hub.looks < 50
    async with asyncio.timeout(5):
        while hub.place is not None:  # The look that is under way is the last.
            await asyncio.sleep(0.01)
    assert hub._task is None


async def test_who_does_not_take_what_he_is_told_is_cut_off_and_finds_it_all_when_he_comes_again(
    hub: EventHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_hub, "MOST_EVENTS", 3)
    async with hub.listening(ALL) as slow, hub.listening(ALL) as quick:
        ids = []
        for number in range(5):
            ids.append(await accepted(number))
            await told(quick, 1)
        async with asyncio.timeout(5):
            while slow.is_open:
                await slow._news.wait()
        assert await slow.next(0) is None
        assert quick.is_open
        missed = await everything_after(slow.begins_at)
    assert [change.document_id for change in missed] == ids


async def test_what_happens_while_the_database_is_away_is_told_when_it_is_back(
    hub: EventHub, connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_hub, "AWAY_S", 0.02)
    connect_now = connections.connect
    away = asyncio.Event()
    refused = 0

    async def refusing() -> asyncpg.Connection:
        nonlocal refused
        if away.is_set():
            refused += 1
            raise ConnectionRefusedError
        return await connect_now()

    hub._connect = refusing
    async with hub.listening(ALL) as listener:
        await accepted(0)
        await told(listener, 1)
        away.set()
        assert hub._connection is not None
        pid = hub._connection.get_server_pid()
        await fetch("SELECT pg_terminate_backend($1)", pid)
        document_id = await accepted(1)
        async with asyncio.timeout(5):
            while refused < 2:
                await asyncio.sleep(0.01)
        away.clear()
        assert [change.document_id for change in await told(listener, 1)] == [document_id]


# --- progress ----------------------------------------------------------------------------------------------


async def steps(listener: Listener, until_done: int) -> list[Step]:
    heard: list[Step] = []
    async with asyncio.timeout(10):
        while not heard or heard[-1].done < until_done:
            batch = await listener.next(10)
            assert batch is not None
            heard += batch.steps
    return heard


async def test_listening_can_end_at_any_moment_also_while_it_connects(channel: ProgressChannel) -> None:
    feed = ProgressFeed(channel)
    async with asyncio.timeout(60):  # Of the first twenty, one hung for ever.
        for number in range(200):
            async with feed.listening():
                await asyncio.sleep(number * 0.00002)


async def test_a_connection_to_redis_that_leads_nowhere_any_more_is_noticed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_channel, "SILENCE_S", 0.2)
    parts = urlsplit(settings.REDIS_URL)
    is_silent = asyncio.Event()
    links: set[asyncio.Task[None]] = set()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            if not is_silent.is_set():
                writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Through something that forgets the connection one day: it swallows all, and closes nothing."""
        from_server, to_server = await asyncio.open_connection(parts.hostname, parts.port)
        links.add(asyncio.create_task(forward(reader, to_server)))
        links.add(asyncio.create_task(forward(from_server, writer)))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        url = settings.REDIS_URL.replace(f":{parts.port}", f":{port}")
        async with ProgressChannel(url) as far, ProgressChannel(settings.REDIS_URL) as near:
            messages = far.messages()
            hearing = asyncio.create_task(anext(messages))
            async with asyncio.timeout(20):
                while not hearing.done():
                    await near.send(["one"])
                    await asyncio.sleep(0.01)
                assert await hearing == b"one"
                hearing = asyncio.create_task(anext(messages))
                await asyncio.wait({hearing}, timeout=1)  # Silences, and an answer to each question.
                is_silent.set()
                with pytest.raises(REDIS_UNREACHABLE):
                    while True:
                        await hearing
                        hearing = asyncio.create_task(anext(messages))
        await asyncio.gather(*links)


async def test_who_tells_progress_goes_on_after_an_error_that_nobody_has_foreseen(
    channel: ProgressChannel, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LEFT_ALONE_S", 0.0)
    sent: list[Sequence[str]] = []

    async def send(messages: Sequence[str]) -> None:
        sent.append(messages)
        if len(sent) == 1:  # uvloop's words for a transport that was closed in the middle of a call.
            raise RuntimeError("unable to perform operation on <TCPTransport closed=True>")

    monkeypatch.setattr(channel, "send", send)
    held = await Document.claim(await accepted(), owner="a", lease_s=30)
    assert held is not None
    async with Leases(lambda: connect(settings), lease_s=30, beat_s=10) as leases, leases.held(held):
        teller = asyncio.create_task(ProgressTeller(channel, leases).run())
        held.enter(Stage.EMBEDDING, unit="chunks", total=9)
        async with asyncio.timeout(20):
            while len(sent) < 2:
                held.progress_done = (held.progress_done or 0) + 1
                await asyncio.sleep(0.01)
        await end(teller)


async def test_progress_is_told_between_the_moments_at_which_the_row_says_it(
    hub: EventHub, channel: ProgressChannel, settings: Settings
) -> None:
    document_id = await accepted(collection="a")
    held = await Document.claim(document_id, owner="a", lease_s=30)
    assert held is not None
    async with (
        Leases(lambda: connect(settings), lease_s=30, beat_s=10) as leases,
        leases.held(held),
        hub.listening(EventFilter(collections=frozenset({"a"}))) as listener,
        hub.listening(EventFilter(collections=frozenset({"b"}))) as other,
    ):
        teller = asyncio.create_task(ProgressTeller(channel, leases).run())
        held.enter(Stage.EMBEDDING, unit="chunks", total=9)
        await steps(listener, 0)
        began_at = asyncio.get_running_loop().time()
        held.progress_done = 7
        (step,) = (await steps(listener, 7))[-1:]
        assert asyncio.get_running_loop().time() - began_at < 1  # 0.25 s; this machine may be busy.
        teller.cancel()
        with suppress(asyncio.CancelledError):
            await teller
        assert (step.document_id, step.stage, step.unit, step.total) == (
            document_id,
            "embedding",
            "chunks",
            9,
        )
        assert await other.next(0) is None

        # What comes too late, of another attempt, or is no message of ours, is nobody's.
        await held.complete(indexing("The upper gate opens at six."))
        assert states(await told(listener, 1))[-1] == ("COMPLETED", None)
        await channel.send([step.model_dump_json(), "{}", "[" * 100])
        await accepted(1, collection="a")
        batch = await listener.next(5)
        assert batch is not None
        assert (len(batch.changes), batch.steps) == (1, [])


async def test_a_redis_that_is_away_is_left_alone(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = await Document.claim(await accepted(), owner="a", lease_s=30)
    assert held is not None
    held.enter(Stage.EMBEDDING, unit="chunks", total=9)
    async with (
        ProgressChannel("redis://127.0.0.1:1/0") as nowhere,
        Leases(lambda: connect(settings), lease_s=30, beat_s=10) as leases,
        leases.held(held),
    ):
        tried: list[Any] = []
        send = nowhere.send

        async def noted(messages: Sequence[str]) -> None:
            tried.append(messages)
            await send(messages)

        monkeypatch.setattr(nowhere, "send", noted)
        teller = ProgressTeller(nowhere, leases)
        for done in range(3):
            held.progress_done = done
            await teller._tell(teller._news())
    assert len(tried) == 1
