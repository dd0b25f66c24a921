"""The doorbell's broker, against a real Redis server: what is unreadable, emptied, full or away."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dramatiq
import pytest
import redis
from dramatiq import Message
from dramatiq.middleware import AsyncIO
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.core import consumer as consumer_module
from app.core.broker import DoorbellBroker, RowRetries
from app.core.consumer import DoorbellConsumer
from app.embedded import EmbeddedValkey
from tests.running import wait_until

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def client(valkey: EmbeddedValkey) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(valkey.url, socket_timeout=1) as client:
        client.flushall()
        yield client
        client.config_set("maxmemory", 0)


class Broker(DoorbellBroker):
    """With one actor that notes what it was called with."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(client=client, namespace="t", middleware=[AsyncIO(), RowRetries(max_retries=5)])
        self.heard: list[str] = []
        self.errors: list[Exception] = []

        @dramatiq.actor(broker=self, actor_name="ring")
        async def ring(word: str) -> None:
            self.heard.append(word)
            if self.errors:
                raise self.errors.pop(0)

        self.ring = ring


@pytest.fixture
def broker(client: redis.Redis) -> Broker:
    return Broker(client)


@pytest.fixture
def worker(broker: Broker) -> Iterator[dramatiq.Worker]:
    worker = dramatiq.Worker(broker, worker_threads=1)
    worker.start()
    yield worker
    worker.stop()


def push(client: redis.Redis, data: bytes, message_id: str = "x") -> None:
    """What somebody else who can reach Redis may put into the queue."""
    client.hset("t:default.msgs", message_id, data)
    client.rpush("t:default", message_id)


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.path), "w")


def foreign_messages(tmp_path: Path) -> dict[str, bytes]:
    def of(**fields: object) -> bytes:
        known = {"queue_name": "default", "actor_name": "ring", "args": ("x",), "kwargs": {}}
        return Message(**{**known, "options": {"redis_message_id": "x"}, **fields}).encode()

    return {
        "nothing": b"",
        "bytes": b"\xff\x00\x80",
        "pickle": pickle.dumps(Touch(tmp_path / "code_ran")),
        "json, but no message": b"[1, 2]",
        "half a message": b'{"actor_name": "ring"}',
        "another actor": of(actor_name="os.system"),
        "an actor without a name": of(actor_name=["ring"]),
        "another queue": of(queue_name="elsewhere"),
        "an id that is no name": of(message_id=["x"]),
        "errors of its own to expect": of(args=(), options={"redis_message_id": "x", "throws": "x"}),
        "no id": of(options={}),
        "options of another kind": of(options=[]),
        "kwargs of another kind": of(kwargs=[]),
    }


def test_what_cannot_be_read_runs_nothing_and_harms_no_neighbour(
    client: redis.Redis, broker: Broker, tmp_path: Path
) -> None:
    broker.ring.send("before")
    for number, data in enumerate(foreign_messages(tmp_path).values()):
        push(client, data, f"foreign-{number}")
    client.rpush("t:default", "a name without a message")
    broker.ring.send("after")

    worker = dramatiq.Worker(broker, worker_threads=1)
    worker.start()
    try:
        broker.join("default", timeout=20_000)
    finally:
        worker.stop()

    assert sorted(broker.heard) == ["after", "before"]
    assert not (tmp_path / "code_ran").exists()
    # Nothing is left in anybody's hand; for a week, people may look at what it was.
    assert client.keys("t:__acks__*") == []
    assert client.hlen("t:default.XQ.msgs") == len(foreign_messages(tmp_path))


def test_a_queue_is_known_until_it_is_emptied(client: redis.Redis, broker: Broker) -> None:
    assert broker.look("default") == (0, None)
    assert broker.mark(NOON) == NOON
    assert Broker(client).mark(NOON + timedelta(hours=1)) == NOON  # Somebody was there before.
    broker.ring.send("a")
    broker.ring.send_with_options(args=("b",), delay=60_000)
    assert broker.look("default") == (1, NOON)

    client.flushall()

    assert broker.look("default") == (0, None)


@pytest.mark.parametrize("mark", [b"", b"yesterday", b"\xff", b"2026-11-24T12:00:00"])
def test_a_mark_that_makes_no_sense_is_none_and_is_made_anew(
    client: redis.Redis, broker: Broker, mark: bytes
) -> None:
    client.set("t:__mark__", mark)

    assert broker.look("default").emptied_at is None
    assert broker.mark(NOON) == NOON
    assert broker.look("default").emptied_at == NOON


def test_messages_in_a_workers_hand_do_not_count_as_waiting(client: redis.Redis, broker: Broker) -> None:
    for word in "abc":
        broker.ring.send(word)
    broker.do_fetch("default", 2)

    assert broker.look("default").waiting == 1


def test_a_full_queue_does_not_pass_for_one_that_answers(client: redis.Redis, broker: Broker) -> None:
    broker.mark(NOON)
    client.config_set("maxmemory", 1)

    with pytest.raises(redis.RedisError):
        broker.look("default")


def test_a_worker_does_not_wait_for_an_acknowledgement_that_nobody_takes(broker: Broker) -> None:
    broker.ring.send("a")
    consumer = broker.consume("default")
    message = next(consumer)
    assert message is not None
    broker.client = redis.Redis(port=1, retry=Retry(NoBackoff(), 0))
    broker.scripts["dispatch"].registered_client = broker.client

    # The last is what Dramatiq does when a fetch has failed; an error there would end its thread for good.
    consumer.ack(message)
    consumer.nack(message)
    consumer.requeue([message])


@contextmanager
def waiting(client: redis.Redis, *consumers: DoorbellConsumer) -> Iterator[list[Future[Any]]]:
    """Each waits in Redis for its next message."""
    with ThreadPoolExecutor(len(consumers)) as threads:
        looks = [threads.submit(next, consumer) for consumer in consumers]
        wait_until(lambda: client.info("clients")["blocked_clients"] == len(consumers))
        yield looks


@pytest.fixture
def patient(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody stops waiting within a test."""
    monkeypatch.setattr(consumer_module, "IDLE_WAIT_S", 20)
    client.connection_pool.connection_kwargs["socket_timeout"] = 30


@pytest.mark.usefixtures("patient")
def test_one_message_wakes_all_who_wait_and_one_has_it(client: redis.Redis, broker: Broker) -> None:
    consumers = [Broker(client).consume("default", prefetch=2) for _ in range(3)]

    with waiting(client, *consumers) as looks:
        broker.ring.send("first")
        taken = [look.result(timeout=10) for look in looks]

    assert [message.args for message in taken if message is not None] == [("first",)]
    broker.ring.send("second")
    assert next(consumers[0]).args == ("second",)


@pytest.mark.usefixtures("patient")
def test_only_a_message_that_was_waited_for_has_a_head_start(
    client: redis.Redis, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(consumer_module, "time", SimpleNamespace(sleep=slept.append))
    consumer = broker.consume("default", prefetch=4)
    with waiting(client, consumer) as looks:
        broker.ring.send("first")
        assert looks[0].result(timeout=10).args == ("first",)
    for name in ("second", "third"):
        broker.ring.send(name)
        assert next(consumer).args == (name,)

    assert slept == [consumer_module.HEAD_START_S]


@pytest.mark.usefixtures("patient")
def test_what_comes_when_there_is_no_room_any_more_is_left_to_others(
    client: redis.Redis, broker: Broker
) -> None:
    consumer, other = broker.consume("default", prefetch=2), Broker(client).consume("default", prefetch=2)
    has_room = True

    with broker.fetching_while("default", lambda _: has_room), waiting(client, consumer) as (look,):
        has_room = False
        broker.ring.send("a")
        assert look.result(timeout=10) is None

    assert next(other).args == ("a",)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("message_id", ["forgotten", "foreign"])
def test_what_comes_and_cannot_be_read_leaves_nothing(
    client: redis.Redis, broker: Broker, message_id: str
) -> None:
    consumer = broker.consume("default", prefetch=2)

    with waiting(client, consumer) as (look,), client.pipeline() as pipeline:
        if message_id == "foreign":
            pipeline.hset("t:default.msgs", message_id, b"[1, 2]")
        pipeline.rpush("t:default", message_id)
        pipeline.execute()
        assert look.result(timeout=10) is None

    assert client.hlen("t:default.msgs") == 0
    assert client.hlen("t:default.XQ.msgs") == (message_id == "foreign")
    assert client.keys("t:__acks__*") == []


def test_what_was_fetched_and_not_begun_is_given_back(client: redis.Redis, broker: Broker) -> None:
    for word in "abc":
        broker.ring.send(word)
    consumer = broker.consume("default", prefetch=4)
    assert next(consumer).args == ("a",)

    consumer.close()

    other = Broker(client).consume("default", prefetch=4)
    assert [next(other).args, next(other).args] == [("b",), ("c",)]


def told_to_wait(consumer: Any, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Is set as soon as the consumer waits until there is room for more."""
    waits = threading.Event()
    wait = consumer._has_room.wait

    def noted(timeout: float) -> bool:
        waits.set()
        return wait(timeout)

    monkeypatch.setattr(consumer._has_room, "wait", noted)
    return waits


def test_a_worker_that_holds_all_it_may_is_woken_when_it_has_done_half(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer_module, "POLL_S", 20)
    for word in "abcd":
        broker.ring.send(word)
    consumer = broker.consume("default", prefetch=4)
    held = [next(consumer) for _ in range(4)]
    waits = told_to_wait(consumer, monkeypatch)

    with ThreadPoolExecutor(1) as threads:
        look = threads.submit(next, consumer)
        assert waits.wait(10)
        consumer.ack(held[0])
        assert not look.done()
        consumer.ack(held[1])
        assert look.result(timeout=10) is None


def test_what_is_done_before_a_worker_fetches_again_is_acknowledged_together(
    client: redis.Redis, broker: Broker
) -> None:
    for word in "abcdef":
        broker.ring.send(word)
    consumer = broker.consume("default", prefetch=4)
    held = [next(consumer) for _ in range(4)]
    client.config_resetstat()
    consumer.ack(held[0])
    consumer.ack(held[1])
    assert client.hlen("t:default.msgs") == 6

    assert next(consumer).args == ("e",)
    assert client.info("commandstats")["cmdstat_exec"]["calls"] == 1
    assert client.hlen("t:default.msgs") == 4
    for message in held[2:]:
        consumer.ack(message)
    consumer.close()
    assert client.hlen("t:default.msgs") == 2


def test_what_is_done_while_a_worker_waits_for_messages_is_acknowledged_at_once(
    client: redis.Redis, broker: Broker
) -> None:
    for word in "ab":
        broker.ring.send(word)
    consumer = broker.consume("default", prefetch=4)
    first, second = next(consumer), next(consumer)
    consumer.ack(first)

    with ThreadPoolExecutor(1) as threads:
        look = threads.submit(next, consumer)
        wait_until(
            lambda: client.hlen("t:default.msgs") == 1 and client.info("clients")["blocked_clients"] == 1
        )
        consumer.ack(second)
        assert client.hlen("t:default.msgs") == 0
        assert not look.done()
        broker.ring.send("c")
        assert look.result(timeout=10).args == ("c",)


def test_a_worker_looks_at_its_delayed_messages_instead_of_waiting_for_others(
    client: redis.Redis, broker: Broker
) -> None:
    client.config_resetstat()
    broker.ring.send_with_options(args=("later",), delay=60_000)
    consumer = broker.consume("default.DQ", prefetch=2)

    assert next(consumer).args == ("later",)
    assert next(consumer) is None
    assert "cmdstat_blmove" not in client.info("commandstats")


def test_a_retry_comes_when_the_row_is_due(broker: Broker, worker: dramatiq.Worker) -> None:
    error = ValueError("busy")
    error.retry_in_s = 0.2  # type: ignore[attr-defined]
    delays: list[int | None] = []
    enqueue = broker.enqueue

    def noted(message: Message, *, delay: int | None = None) -> Message:
        delays.append(delay)
        return enqueue(message, delay=delay)

    broker.enqueue = noted  # type: ignore[method-assign]
    broker.errors = [error]
    broker.ring.send("a")
    broker.join("default", timeout=20_000)

    assert broker.heard == ["a", "a"]
    assert delays == [None, 300, None]  # Sent, to be retried, and now.


def test_a_forgotten_message_is_passed_over_and_leaves_nothing(
    client: redis.Redis, broker: Broker, worker: dramatiq.Worker
) -> None:
    named = [f"{n}:1" for n in range(100)]
    messages = []
    for name in named:
        with broker.held(message_id=name) as held:
            broker.ring.send(name)
        messages += held
    with broker.held() as held:
        broker.ring.send("unnamed")
    messages += held

    worker.pause()
    broker.enqueue_all(messages)
    broker.forget("default", [*named[:-1], "never heard of:1"])
    worker.resume()

    wait_until(lambda: len(broker.heard) == 2)
    assert broker.heard == [named[-1], "unnamed"]
    wait_until(lambda: not client.keys("t:default*") and not client.keys("t:__acks__*"))


def test_a_worker_without_room_leaves_messages_to_others_and_takes_one_by_one(
    client: redis.Redis, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer_module, "IDLE_WAIT_S", 0.01)
    for word in "abcd":
        broker.ring.send(word)
    has_room = False
    consumer, other = broker.consume("default", prefetch=4), Broker(client).consume("default", prefetch=2)

    with broker.fetching_while("default", lambda _: has_room):
        assert [next(consumer), next(consumer)] == [None, None]
        assert [next(other).args, next(other).args] == [("a",), ("b",)]
        has_room = True
        assert next(consumer).args == ("c",)
        assert client.llen(f"{broker.namespace}:default") == 1
    assert next(consumer).args == ("d",)


def test_room_in_one_queue_is_none_of_another_ones_business(broker: Broker) -> None:
    with broker.fetching_while("default", lambda held: held < 2):
        assert broker.room("default", held=1, most=16) == 1
        assert broker.room("default", held=2, most=16) == 0
        assert broker.room("default", held=1, most=2) == 0
        assert broker.room("webhooks", held=2, most=16) == 14
    assert broker.room("default", held=2, most=16) == 14
