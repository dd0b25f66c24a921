"""Makes good what was lost between the database and the queue, from within every worker process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from uuid import UUID

import redis
import structlog
from tortoise.exceptions import OperationalError

from app.core.broker import QueueState
from app.core.database import BROKEN, SILENT_AT_MOST_S
from app.jobs.lanes import Lanes
from app.models import backlog, workers

log = structlog.get_logger(__name__)

#: How many documents one sweep takes in hand.
BATCH = 500

#: A lifeline that is torn for so long, and for nearly a sweep, is of a worker that has died: one that lives
#: has said by then that it has none, or another one (app/services/presence.py).
MISSED_S = 4
PART_OF_SWEEP = 0.9

#: After so many sweeps' time without an answer of the queue, workers look for documents themselves.
BRIDGE_AFTER_SWEEPS = 2


class Reconciler:
    """Sweeps the table: dead leases go back, and documents whose message is missing get another.

    While the queue is silent, it works on documents that are due without waiting for their messages.

    Args of the constructor:
        send: Puts a document's id into the queue; synchronous, as Dramatiq's is.
        look: How the queue is.
        mark: Marks the queue with the present moment, until somebody empties it.
        work_on_next: Takes the next due document in hand, to its end; False when there is none.
        lanes: Where it does so; `close` waits for all that is in them.
        myself: The name of this worker.
        every_s: Seconds from one sweep to the next.
        backoff_s: What the waits after a worker's death are reckoned by.
    """

    def __init__(
        self,
        *,
        send: Callable[[str], object],
        look: Callable[[], QueueState],
        mark: Callable[[datetime], datetime],
        work_on_next: Callable[[], Awaitable[bool]],
        lanes: Lanes,
        myself: Callable[[], str],
        every_s: float,
        backoff_s: float,
    ) -> None:
        self._send = send
        self._look = look
        self._mark = mark
        self._work_on_next = work_on_next
        self._myself = myself
        self._every_s = every_s
        self._backoff_s = backoff_s
        self._sweeps: asyncio.Task[None] | None = None
        self._lanes = lanes
        self._silent_since: float | None = None
        self._torn: dict[workers.Lifeline, float] = {}  # Since when.

    # --- its life -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to sweep, on the running loop."""
        self._silent_since = None
        self._sweeps = asyncio.create_task(self._run(), name="reconciler")

    def stop(self) -> None:
        """Sweep no more, and take nothing new in hand."""
        self._silent_since = None
        if self._sweeps is not None:
            self._sweeps.cancel()

    async def close(self) -> None:
        """Stop, and wait for what is in hand."""
        self.stop()
        await self._lanes.close()

    async def _run(self) -> None:
        while True:
            began_at = time.monotonic()
            has_more = await self._try_to_sweep()
            if self._is_silent:
                self._bridge()
            # So often, however long a sweep takes: takeovers are promised by it.
            pause_s = began_at + self._every_s - time.monotonic()
            await asyncio.sleep(0 if has_more else max(pause_s, 0))

    async def _try_to_sweep(self) -> bool:
        """A failed sweep is told, and made good by the next."""
        try:
            has_more = await self.sweep()
            self._silent_since = None
            return has_more
        except redis.RedisError as error:
            self._silent_since = self._silent_since or time.monotonic()
            log.warning("queue_unreachable", error=str(error))
        except BROKEN as error:
            log.warning("database_unreachable", error=str(error))
        except Exception:
            log.exception("sweep_failed")
        return False

    # --- a sweep --------------------------------------------------------------------------------------------

    async def sweep(self) -> bool:
        """One pass over what is overdue; True when there was more than one pass takes.

        Raises:
            redis.RedisError: The queue does not answer; what concerns the database alone has been done.
        """
        await self._give_up_the_dead()
        await self._end_silent_writers()
        reaped = await backlog.reap(limit=BATCH, backoff_s=self._backoff_s)
        for document_id in reaped:
            log.warning("lease_expired", document_id=str(document_id))
        state = await asyncio.to_thread(self._look)
        emptied_at = state.emptied_at or await self._note_emptied()
        # While the queue is long, a document that waits is no sign of a lost message, and more messages would
        # only make it longer.
        unsent = await backlog.take_unsent(limit=BATCH, emptied_at=emptied_at, late_too=state.waiting < BATCH)
        await self._send_again(unsent)
        if state.waiting >= BATCH and self._lanes.free:
            # But each sweep works on the one that is due first, whose message may have been lost long ago: so
            # every document has its turn, however long the queue stays long.
            self._lanes.open(self._work_on_next())
        return BATCH in {len(reaped), len(unsent)}

    async def _give_up_the_dead(self) -> None:
        """Those whose lifeline was torn at the sweep before, too: who lives has tied another one since."""
        before, self._torn = self._torn, {}  # A sweep that fails has seen nothing: the server may be new.
        now = time.monotonic()
        try:
            torn = [lifeline for lifeline in await workers.torn() if lifeline.worker != self._myself()]
            self._torn = {lifeline: before.get(lifeline, now) for lifeline in torn}
            missed_s = max(MISSED_S, PART_OF_SWEEP * self._every_s)
            dead = [lifeline for lifeline, since in self._torn.items() if now - since >= missed_s]
            for name in await workers.give_up(dead) if dead else ():
                log.warning("worker_lost", worker=name)
        except OperationalError as error:  # Their leases run out, and all else is to be done.
            log.warning("dead_workers_not_given_up", error=str(error))

    async def _end_silent_writers(self) -> None:
        try:
            if ended := await backlog.end_silent_writers(silent_s=SILENT_AT_MOST_S):
                log.warning("silent_writers_ended", connections=ended)
        except OperationalError as error:  # Of another role than ours: no reason to leave all else undone.
            log.warning("silent_writers_not_ended", error=str(error))

    async def _note_emptied(self) -> datetime:
        """Whatever was in the queue is gone: this sweep and the next ones send all that waits again."""
        log.warning("queue_was_empty")
        return await asyncio.to_thread(self._mark, await backlog.now())

    async def _send_again(self, document_ids: list[UUID]) -> None:
        sent, error = await asyncio.to_thread(self._send_all, document_ids)
        if sent:
            log.info("sent_again", documents=sent)
        if sent < len(document_ids):
            await backlog.put_back_unsent(document_ids[sent:])
        if error is not None:
            raise error

    def _send_all(self, document_ids: list[UUID]) -> tuple[int, redis.RedisError | None]:
        """How many were sent, and what stopped it; a slow queue gets no more than a sweep's time."""
        enough_at = time.monotonic() + self._every_s
        for sent, document_id in enumerate(document_ids):
            if sent and time.monotonic() > enough_at:
                return sent, None
            try:
                self._send(str(document_id))
            except redis.RedisError as error:
                return sent, error
        return len(document_ids), None

    # --- without the queue ----------------------------------------------------------------------------------

    @property
    def _is_silent(self) -> bool:
        since = self._silent_since
        return since is not None and time.monotonic() - since >= BRIDGE_AFTER_SWEEPS * self._every_s

    def _bridge(self) -> None:
        for _ in range(self._lanes.free):
            self._lanes.open(self._work_without_messages())

    async def _work_without_messages(self) -> None:
        while self._is_silent and await self._work_on_next():
            pass
