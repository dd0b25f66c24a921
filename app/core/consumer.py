"""How a worker takes messages from the doorbell's queue, and lets them go again."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import dramatiq
import redis
import structlog
from dramatiq.brokers.redis import _RedisConsumer
from dramatiq.errors import ConnectionClosed

if TYPE_CHECKING:
    from app.core.broker import DoorbellBroker

log = structlog.get_logger(__name__)

#: How Dramatiq ends the names of the queues that delayed messages are in.
DELAYED = ".DQ"

#: How long an idle consumer waits in Redis for a message. Redis' client has to be more patient than this, and
#: a process that is told to stop is held up by it.
IDLE_WAIT_S = 1.5

#: How long it waits where nothing in Redis would wake it.
POLL_S = 0.05

#: How often it looks whether there is room for more.
ROOM_POLL_S = 0.005

#: What a message that ended the waiting has for its way to the actor, before the next fetch takes the
#: interpreter from the threads that it goes through.
HEAD_START_S = 0.0003


class DoorbellConsumer(_RedisConsumer):
    """Waits where it is woken, and lets an acknowledgement go that Redis does not take.

    Dramatiq would sleep between its looks at the queue: on average half a second on an idle system. And it
    would try an acknowledgement again until Redis is back, with a worker's thread. The message comes once
    more when this process is gone, and finds that there is nothing to do.
    """

    def __init__(self, broker: DoorbellBroker, queue_name: str, prefetch: int, _: int) -> None:
        super().__init__(broker, queue_name, prefetch, timeout=0)  # type: ignore[no-untyped-call]
        self._has_room = threading.Event()
        self._is_asleep = False
        self._was_woken = False
        self._most = prefetch
        self._done: deque[str] = deque()  # Redis' ids of what is to be acknowledged before the next fetch.

    def __next__(self) -> dramatiq.MessageProxy | None:
        if self._was_woken:
            self._was_woken = False
            time.sleep(HEAD_START_S)
        self._acknowledge_done()
        self._has_room.clear()
        held = self.outstanding_message_count
        room = self.broker.room(self.queue_name, held=held, most=self._most)
        self.prefetch = held + room
        message: dramatiq.MessageProxy | None = super().__next__()  # type: ignore[no-untyped-call]
        if message is None:
            self._wait(room)
            if self.message_cache:
                message = super().__next__()  # type: ignore[no-untyped-call]
        return message

    def _wait(self, room: int) -> None:
        """Until it is worth looking again, or for a moment; a message that comes meanwhile is fetched."""
        held = self.outstanding_message_count
        if held >= self._most:
            self._has_room.wait(POLL_S)
        elif not room:
            self._has_room.wait(ROOM_POLL_S)
        elif held and self.queue_name.endswith(DELAYED):
            time.sleep(POLL_S)  # One of those may be due any time, and this thread sends it.
        else:
            self._wait_for_message()

    def _wait_for_message(self) -> None:
        self._is_asleep = True
        self._acknowledge_done()  # Of what is done from here on, each thread tells Redis itself.
        try:
            taken = self.broker.take(self.queue_name, IDLE_WAIT_S)
        except redis.RedisError as error:
            # If it is away, the next fetch says so to Dramatiq, who knows what to do.
            log.debug("queue_not_awaited", error=str(error))
            time.sleep(POLL_S)
            return
        finally:
            self._is_asleep = False
        held = self.outstanding_message_count
        if self.broker.room(self.queue_name, held=held, most=self._most):
            self.message_cache = taken
            self._was_woken = bool(taken)
        else:  # What was in hand has grown meanwhile.
            self._give_back(taken)

    def ack(self, message: dramatiq.MessageProxy) -> None:
        if not self._is_asleep:  # Soon it fetches: this thread has better to do than to wait for Redis.
            self._done.append(message.options["redis_message_id"])
            self.queued_message_ids.discard(message.message_id)
            self._note_room()
            return
        try:
            super().ack(message)  # type: ignore[no-untyped-call]
        except (ConnectionClosed, redis.RedisError) as error:
            log.warning("message_not_acknowledged", error=str(error))
        self._note_room()

    def nack(self, message: dramatiq.MessageProxy) -> None:
        try:
            super().nack(message)  # type: ignore[no-untyped-call]
        except (ConnectionClosed, redis.RedisError) as error:
            log.warning("message_not_acknowledged", error=str(error))
        self._note_room()

    def close(self) -> None:
        self._acknowledge_done()
        self._give_back(self.message_cache)
        super().close()

    def _give_back(self, fetched: Sequence[bytes]) -> None:
        self.requeue(dramatiq.MessageProxy(dramatiq.Message.decode(data)) for data in fetched)

    def _acknowledge_done(self) -> None:
        if not self._done:
            return
        message_ids = [self._done.popleft() for _ in range(len(self._done))]
        try:
            self.broker.ack_all(self.queue_name, message_ids)
        except redis.RedisError as error:
            log.warning("messages_not_acknowledged", messages=len(message_ids), error=str(error))

    def _note_room(self) -> None:
        # One fetch for half of what it may hold, instead of one for each message that is done.
        if self.outstanding_message_count <= self.prefetch // 2:
            self._has_room.set()

    def requeue(self, messages: Iterable[dramatiq.MessageProxy]) -> None:
        """Give back what this process has not begun; else it comes back when the process is gone.

        Dramatiq calls this when a fetch has failed, and an error here would end its thread for good.
        """
        try:
            super().requeue(messages)  # type: ignore[no-untyped-call]
        except (ConnectionClosed, redis.RedisError) as error:
            log.warning("messages_not_requeued", error=str(error))
