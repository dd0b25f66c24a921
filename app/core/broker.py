"""Dramatiq's Redis broker, as a doorbell: it answers promptly, and nothing that goes wrong in it matters."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple
from uuid import uuid4

import dramatiq
import structlog
from dramatiq import Message
from dramatiq.brokers.redis import RedisBroker, _RedisConsumer
from dramatiq.errors import DecodeError, Retry
from dramatiq.middleware import Retries

from app.core.consumer import DoorbellConsumer

log = structlog.get_logger(__name__)

#: Drops ids at the head of a queue that have nothing behind them, up to a number of them.
DROP_FORGOTTEN = """
for _ = 1, tonumber(ARGV[1]) do
    local id = redis.call("lindex", KEYS[1], 0)
    if not id or redis.call("hexists", KEYS[2], id) == 1 then
        break
    end
    redis.call("lpop", KEYS[1])
end
"""
DROPPED_AT_ONCE = 1000

#: Dramatiq's fetch of one message, less the chores that every worker does in its other fetches.
TAKE = """
local id = redis.call("lpop", KEYS[1])
if not id then
    return {}
end
redis.call("sadd", KEYS[3], id)
return redis.call("hmget", KEYS[2], id)
"""


class QueueState(NamedTuple):
    """What a look at the queue shows."""

    waiting: int  # Messages that no worker has fetched yet.
    emptied_at: datetime | None  # What `mark` left; None: it has been emptied since, or is new.


class HeldMessage(NamedTuple):
    """On its way into a queue."""

    queue_name: str
    message_id: str
    data: bytes


class _Held(threading.local):
    """What a thread has enqueued in a block of `held`; None outside of one."""

    messages: list[HeldMessage] | None = None
    message_id: str | None = None


class DoorbellBroker(RedisBroker):
    """A message says no more than "look at this row", so that none is worth waiting or failing for."""

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)  # type: ignore[no-untyped-call]
        self._held = _Held()
        self._rooms: dict[str, Callable[[int], bool]] = {}
        self._drop_forgotten = self.client.register_script(DROP_FORGOTTEN)
        self._take = self.client.register_script(TAKE)

    @property
    def consumer_class(self) -> type[_RedisConsumer]:
        return DoorbellConsumer

    @contextmanager
    def fetching_while(self, queue_name: str, has_room: Callable[[int], bool]) -> Iterator[None]:
        """In the block, this process fetches from the queue only what it has room for, one by one.

        What it does not fetch stays for others. Dramatiq would take twice as many as it has threads, and
        whoever came later would have nothing to do.

        Args:
            queue_name: Of an actor.
            has_room: Asked before each fetch, by the consumer's thread, which says how many messages it has
                fetched that are not done.
        """
        self._rooms[queue_name] = has_room
        try:
            yield
        finally:
            del self._rooms[queue_name]

    def room(self, queue_name: str, *, held: int, most: int) -> int:
        """How many messages a consumer may fetch now that holds some, and could hold so many."""
        has_room = self._rooms.get(queue_name)
        if has_room is None:
            return max(most - held, 0)
        # Dramatiq takes twice as many as it has threads; the second half would wait here, and not for others.
        return 1 if held < most / 2 and has_room(held) else 0

    @contextmanager
    def held(self, *, message_id: str | None = None) -> Iterator[list[HeldMessage]]:
        """Keep what this thread enqueues in the block for `enqueue_all`: it does not talk to Redis.

        Args:
            message_id: By which `forget` will find the one message that is enqueued in the block. Two that
                are in the queue at the same time must not have the same.
        """
        held = self._held.messages = []
        self._held.message_id = message_id
        try:
            yield held
        finally:
            self._held.messages = None

    def enqueue(self, message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        """Dramatiq's, in fewer words to Redis; without any while messages are held, but for delayed ones."""
        if delay is not None:
            return super().enqueue(message, delay=delay)
        message_id = self._held.message_id or str(uuid4())
        message = message.copy(options={"redis_message_id": message_id})
        self.emit_before("enqueue", message, delay)
        ours = HeldMessage(message.queue_name, message_id, message.encode())
        if self._held.messages is None:
            self.enqueue_all([ours])
        else:
            self._held.messages.append(ours)
        self.emit_after("enqueue", message, delay)
        return message

    def enqueue_all(self, held: Sequence[HeldMessage]) -> None:
        """Put them into their queues in one round trip: all of them, or none.

        It is what Dramatiq's script does for one, less the chores that workers do often enough.

        Raises:
            redis.RedisError: It did not answer, or refused them.
        """
        if not held:
            return
        with self.client.pipeline(transaction=True) as pipeline:
            for name in {each.queue_name for each in held}:
                queue = self._queue(name)
                messages = {each.message_id: each.data for each in held if each.queue_name == name}
                pipeline.hset(f"{queue}.msgs", mapping=messages)  # type: ignore[arg-type]
                pipeline.rpush(queue, *messages)
            pipeline.execute()

    def forget(self, queue_name: str, message_ids: Sequence[str]) -> None:
        """Take messages back that nobody has fetched yet, in one round trip however long the queue is.

        Their ids stay in the queue, with nothing behind them, until `do_fetch` comes across them.

        Raises:
            redis.RedisError: It did not answer.
        """
        self.client.hdel(f"{self._queue(queue_name)}.msgs", *message_ids)

    def take(self, queue_name: str, timeout_s: float) -> list[bytes]:
        """The next message, as soon as there is one; none after `timeout_s`, or if another was faster.

        Scripts cannot block, so this waits by moving the queue's head from the head to the head, which takes
        nothing, changes no order, and wakes all who wait. The fetch goes to Redis along with that: there is
        no round trip between a message's coming and its being ours.

        Raises:
            redis.RedisError: It does not answer, is full, or is older than 6.2.
        """
        queue = self._queue(queue_name)
        with self.client.pipeline(transaction=False) as pipeline:
            pipeline.blmove(queue, queue, timeout_s, "LEFT", "LEFT")  # type: ignore[arg-type]
            self._take(keys=[queue, f"{queue}.msgs", self._acks(queue_name)], client=pipeline)
            _, fetched = pipeline.execute()
        return self._readable(queue_name, fetched)

    def do_fetch(self, queue_name: str, count: int) -> list[bytes]:
        """The next messages; what is none of ours is set aside, what has been forgotten is passed over.

        Dramatiq's consumer dies of a message that it cannot read, and strands all that it fetched with it.
        """
        while True:
            fetched: list[bytes | None] = self._dispatch("fetch")(  # type: ignore[no-untyped-call]
                queue_name, count
            )
            readable = self._readable(queue_name, fetched)
            if readable or not fetched:
                return readable

    def ack_all(self, queue_name: str, message_ids: Sequence[str]) -> None:
        """Acknowledge messages in one round trip.

        Raises:
            redis.RedisError: It did not answer. What it has not taken comes again when this process is gone.
        """
        with self.client.pipeline(transaction=True) as pipeline:
            pipeline.srem(self._acks(queue_name), *message_ids)
            pipeline.hdel(f"{self._queue(queue_name)}.msgs", *message_ids)
            pipeline.execute()

    def look(self, queue_name: str) -> QueueState:
        """How the queue is.

        Raises:
            redis.RedisError: It does not answer, or cannot be written.
        """
        with self.client.pipeline(transaction=False) as pipeline:
            pipeline.llen(self._queue(queue_name))
            pipeline.get(self._mark)
            # A full Redis answers whoever reads, and refuses everything that a queue needs.
            pipeline.set(f"{self.namespace}:__probe__", 1)
            waiting, mark, _ = pipeline.execute()
        return QueueState(waiting, _moment(mark))

    def mark(self, now: datetime) -> datetime:
        """Leave a mark that is gone when somebody empties the queue, or puts an empty one in its place.

        Returns:
            `now`, or what somebody else marked it with a moment ago.
        """
        key = self._mark
        if _moment(self.client.get(key)) is None:
            self.client.set(key, now.isoformat())
        return _moment(self.client.get(key)) or now

    @property
    def _mark(self) -> str:
        return f"{self.namespace}:__mark__"

    def _queue(self, name: str) -> str:
        return f"{self.namespace}:{name}"

    def _acks(self, queue_name: str) -> str:
        """The ids of what this process has fetched from the queue, and not acknowledged."""
        return f"{self.namespace}:__acks__.{self.broker_id}.{queue_name}"

    def _readable(self, queue_name: str, fetched: Sequence[bytes | None]) -> list[bytes]:
        """Those that can be worked on; the others go out of our hands."""
        readable = [data for data in fetched if data is not None and self._is_ours(data, queue_name)]
        if len(readable) < len(fetched):
            self._set_aside(queue_name)
        if None in fetched:  # Then there are more of these, as a rule.
            queue = self._queue(queue_name)
            self._drop_forgotten(keys=[queue, f"{queue}.msgs"], args=[DROPPED_AT_ONCE])
        return readable

    def _is_ours(self, data: bytes, queue_name: str) -> bool:
        """Whether Dramatiq can work on it. Its threads end for ever of some that it can read all the same."""
        try:
            message: Message[Any] = Message.decode(data)
        except DecodeError:
            return False
        return (
            isinstance(message.actor_name, str)
            and message.actor_name in self.actors
            and message.queue_name == queue_name  # Its consumer is looked up by this name.
            and isinstance(message.message_id, str)
            and isinstance(message.kwargs, Mapping)
            and isinstance(message.options, Mapping)
            and isinstance(message.options.get("redis_message_id"), str)
            and "throws" not in message.options  # Classes of exceptions, which JSON does not have.
        )

    def _set_aside(self, queue_name: str) -> None:
        """Let go of what has been forgotten, and move what cannot be read to the dead letters, where Dramatiq
        drops it after a week."""
        key = self._acks(queue_name)
        held = list(self.client.smembers(key))
        contents = self.client.hmget(f"{self._queue(queue_name)}.msgs", held) if held else []
        forgotten = []
        for message_id, data in zip(held, contents, strict=True):
            if data is None:
                forgotten.append(message_id)
            elif not self._is_ours(data, queue_name):
                log.warning("message_malformed", size_bytes=len(data))
                self.do_nack(queue_name, message_id)
        if forgotten:
            self.client.srem(key, *forgotten)


def _moment(mark: Any) -> datetime | None:
    """A mark that somebody wrote over counts as none."""
    try:
        moment = datetime.fromisoformat((mark or b"").decode("ascii"))
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None


class RowRetries(Retries):
    """Dramatiq's retries, at the moment when the row is due: a message that comes earlier finds it is not.

    The error of an attempt carries that moment as `retry_in_s`; the number of tries is the actor's.
    """

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: dramatiq.MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        retry_in_s = getattr(exception, "retry_in_s", None)
        if retry_in_s is not None:
            exception = Retry(str(exception), delay=round(retry_in_s * 1000) + AFTER_DUE_MS)
        super().after_process_message(  # type: ignore[no-untyped-call]
            broker, message, result=result, exception=exception
        )


#: Two clocks are never quite the same, and the database's decides.
AFTER_DUE_MS = 100
