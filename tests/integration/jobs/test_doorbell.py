"""The doorbell: many rings in one round trip, and nobody waits for a queue that does not answer."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from uuid import UUID, uuid4

import dramatiq
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.core.broker import DoorbellBroker
from app.core.config import Settings
from app.core.database import database
from app.embedded import EmbeddedValkey
from app.jobs import doorbell as doorbell_module
from app.jobs.doorbell import GROUP, PATIENCE_S, PAUSE_AT_MOST_S, PAUSE_EACH_S, Doorbell
from app.models import acceptance
from app.models.acceptance import NewDocument
from app.models.document import Document
from tests.support import emptied_database


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def client(valkey: EmbeddedValkey) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(valkey.url, socket_timeout=1, retry=Retry(NoBackoff(), 0)) as client:
        client.flushall()
        yield client
        client.config_set("maxmemory", 0)


@pytest.fixture
def broker(client: redis.Redis) -> DoorbellBroker:
    return DoorbellBroker(client=client, namespace="t", middleware=[])


@pytest.fixture
def ring_one(broker: DoorbellBroker) -> dramatiq.Actor[..., None]:
    @dramatiq.actor(broker=broker, actor_name="ring")
    def ring(document_id: str) -> None:
        """Nobody runs it here."""

    return ring


@pytest.fixture
async def documents(settings: Settings, migrated: None) -> AsyncIterator[list[UUID]]:
    async with database(settings):
        await emptied_database()
        many = [
            NewDocument(sha256=f"{n:064d}", size_bytes=1, media_type="text/plain", content=b"x")
            for n in range(50)
        ]
        yield [accepted.document_id for accepted in await acceptance.accept_many(many) if accepted]


async def unsent() -> set[UUID]:
    return {document.id for document in await Document.all() if document.sent_at.year == 1970}


def queued(client: redis.Redis, broker: DoorbellBroker) -> list[str]:
    """What a worker would be given, in its order."""
    messages = [dramatiq.Message.decode(data) for data in broker.do_fetch("default", 1000)]
    return [message.args[0] for message in messages]


async def test_what_is_rung_while_a_send_is_under_way_goes_together(
    client: redis.Redis, broker: DoorbellBroker, ring_one: dramatiq.Actor[..., None], documents: list[UUID]
) -> None:
    client.config_resetstat()
    async with Doorbell(broker) as doorbell:
        await asyncio.gather(*(doorbell.ring(ring_one.send, document_id) for document_id in documents))

    calls = client.info("commandstats")["cmdstat_exec"]["calls"]
    assert calls <= 2
    assert queued(client, broker) == [str(document_id) for document_id in documents]
    assert await unsent() == set()


async def test_the_more_a_send_has_the_longer_the_next_one_gathers(
    broker: DoorbellBroker,
    ring_one: dramatiq.Actor[..., None],
    documents: list[UUID],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[int] = []
    monkeypatch.setattr(broker, "enqueue_all", lambda group: sent.append(len(group)))
    many = round(PAUSE_AT_MOST_S / PAUSE_EACH_S)
    begun = time.monotonic()
    async with Doorbell(broker) as doorbell:
        await doorbell.ring_all(ring_one.send, dict.fromkeys(documents[:many]))
        async with asyncio.timeout(10):
            while not sent:
                await asyncio.sleep(0)
        await doorbell.ring(ring_one.send, documents[0])
        await doorbell.ring(ring_one.send, documents[1])
        async with asyncio.timeout(10):
            while len(sent) < 2:
                await asyncio.sleep(0.001)
        took_s = time.monotonic() - begun

    assert sent == [many, 2]
    assert took_s >= PAUSE_AT_MOST_S


async def test_what_is_more_than_one_send_can_have_does_not_pause(
    broker: DoorbellBroker, ring_one: dramatiq.Actor[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    monkeypatch.setattr(broker, "enqueue_all", lambda group: sent.append(len(group)))
    monkeypatch.setattr(doorbell_module, "PAUSE_S", 3600)
    monkeypatch.setattr(doorbell_module, "PAUSE_AT_MOST_S", 3600)
    async with Doorbell(broker) as doorbell:
        await doorbell.ring_all(ring_one.send, dict.fromkeys(uuid4() for _ in range(2 * GROUP + 1)))
        async with asyncio.timeout(10):
            while len(sent) < 3:
                await asyncio.sleep(0.001)

    assert sent == [GROUP, GROUP, 1]


async def test_a_full_queue_takes_none_of_a_group_and_all_are_noted(
    client: redis.Redis, broker: DoorbellBroker, ring_one: dramatiq.Actor[..., None], documents: list[UUID]
) -> None:
    client.config_set("maxmemory", 1)

    async with Doorbell(broker) as doorbell:
        await doorbell.ring_all(ring_one.send, dict.fromkeys(documents))

    assert await unsent() == set(documents)


async def test_what_cannot_be_sent_does_not_keep_its_group_from_being_sent(
    client: redis.Redis, broker: DoorbellBroker, ring_one: dramatiq.Actor[..., None], documents: list[UUID]
) -> None:
    def send(document_id: str) -> object:
        if document_id == str(documents[1]):
            raise ValueError("not this one")
        return ring_one.send(document_id)

    async with Doorbell(broker) as doorbell:
        await doorbell.ring_all(send, dict.fromkeys(documents[:3]))

    assert queued(client, broker) == [str(documents[0]), str(documents[2])]
    assert await unsent() == {documents[1]}


async def test_a_stalled_queue_keeps_nobody_waiting_and_what_it_did_not_take_is_noted(
    valkey: EmbeddedValkey,
    broker: DoorbellBroker,
    ring_one: dramatiq.Actor[..., None],
    documents: list[UUID],
) -> None:
    async with Doorbell(broker) as doorbell:
        os.kill(valkey.pid, signal.SIGSTOP)
        try:
            begun = time.monotonic()
            for document_id in documents[:5]:
                await doorbell.ring(ring_one.send, document_id)
            assert time.monotonic() - begun < PATIENCE_S
            async with asyncio.timeout(10):
                while await unsent() != set(documents[:5]):  # The first of them when its socket times out.
                    await asyncio.sleep(0.01)
        finally:
            os.kill(valkey.pid, signal.SIGCONT)
        await doorbell.ring(ring_one.send, documents[5])

    assert await unsent() == set(documents[:5])
