"""Dramatiq's Redis broker, as a doorbell: it answers promptly, and nothing that goes wrong in it matters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import dramatiq
import redis
import structlog
from dramatiq import Message
from dramatiq.brokers.redis import RedisBroker, _RedisConsumer
from dramatiq.errors import ConnectionClosed, DecodeError, Retry
from dramatiq.middleware import Retries

log = structlog.get_logger(__name__)

# Dramatiq's consumer polls, and doubles its wait up to this while there is nothing to do. Its default of a
# second is most of what a small document takes; at 50 ms an idle process makes 20 tiny requests a second.
IDLE_POLL_MS = 50


class QueueState(NamedTuple):
    """What a look at the queue shows."""

    waiting: int  # Messages that no worker has fetched yet.
    emptied_at: datetime | None  # What `mark` left; None: it has been emptied since, or is new.


class DoorbellBroker(RedisBroker):
    """A message says no more than "look at this row", so that none is worth waiting or failing for."""

    @property
    def consumer_class(self) -> type[_RedisConsumer]:
        return _ForgivingConsumer

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = IDLE_POLL_MS) -> dramatiq.Consumer:
        return super().consume(queue_name, prefetch, min(timeout, IDLE_POLL_MS))

    def do_fetch(self, queue_name: str, count: int) -> list[bytes]:
        """The next messages; what is none of ours is set aside.

        Dramatiq's consumer dies of a message that it cannot read, and strands all that it fetched with it.
        """
        fetched: list[bytes | None] = self._dispatch("fetch")(  # type: ignore[no-untyped-call]
            queue_name, count
        )
        readable = [data for data in fetched if data is not None and self._is_ours(data, queue_name)]
        if len(readable) < len(fetched):
            self._set_aside(queue_name)
        return readable

    def look(self, queue_name: str) -> QueueState:
        """How the queue is.

        Raises:
            redis.RedisError: It does not answer, or cannot be written.
        """
        with self.client.pipeline(transaction=False) as pipeline:
            pipeline.llen(f"{self.namespace}:{queue_name}")
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
        """Move what cannot be read to the dead letters, where Dramatiq drops it after a week."""
        key = f"{self.namespace}:__acks__.{self.broker_id}.{queue_name}"
        held = sorted(self.client.smembers(key))
        contents = self.client.hmget(f"{self.namespace}:{queue_name}.msgs", held) if held else []
        for message_id, data in zip(held, contents, strict=True):
            if data is None or not self._is_ours(data, queue_name):
                log.warning("message_malformed", size_bytes=len(data or b""))
                self.do_nack(queue_name, message_id)


def _moment(mark: Any) -> datetime | None:
    """A mark that somebody wrote over counts as none."""
    try:
        moment = datetime.fromisoformat((mark or b"").decode("ascii"))
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None


class _ForgivingConsumer(_RedisConsumer):
    """Lets an acknowledgement go that Redis does not take.

    Dramatiq would try it again until Redis is back, with a worker's thread. The message comes once more when
    this process is gone, and finds that there is nothing to do.
    """

    def ack(self, message: dramatiq.MessageProxy) -> None:
        try:
            super().ack(message)  # type: ignore[no-untyped-call]
        except (ConnectionClosed, redis.RedisError) as error:
            log.warning("message_not_acknowledged", error=str(error))

    def nack(self, message: dramatiq.MessageProxy) -> None:
        try:
            super().nack(message)  # type: ignore[no-untyped-call]
        except (ConnectionClosed, redis.RedisError) as error:
            log.warning("message_not_acknowledged", error=str(error))

    def requeue(self, messages: Iterable[dramatiq.MessageProxy]) -> None:
        """Give back what this process has not begun; else it comes back when the process is gone.

        Dramatiq calls this when a fetch has failed, and an error here would end its thread for good.
        """
        try:
            super().requeue(messages)  # type: ignore[no-untyped-call]
        except (ConnectionClosed, redis.RedisError) as error:
            log.warning("messages_not_requeued", error=str(error))


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
