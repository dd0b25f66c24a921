"""What becomes of documents after they were taken: asked batch by batch, not one by one."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from datetime import datetime
from time import monotonic
from uuid import UUID

from app.cli.ingesting.report import Result
from app.cli.ingesting.tally import Tally, Waiting
from app.cli.remote.exits import is_unreachable
from app.client import AsyncSluice, SluiceError

#: Between two looks at a batch.
FIRST_LOOK_S, LAST_LOOK_S = 0.1, 1.0

#: Documents that came alone, whose end is waited for at the same time. Workers take the oldest first, so
#: that the ends of all others are known as soon as they are asked for.
WAITING_AT_ONCE = 8

LOOK_AT_STAGES_S = 1.0
LOOK_AT_WAITING_S = 4.0
LOOKED_AT = 500
SHOWN_AT_ONCE = 100


class Follower:
    """Follows documents to their ends.

    Args:
        give_up: Told when the server does not answer any more.
    """

    def __init__(self, sluice: AsyncSluice, tally: Tally, give_up: Callable[[SluiceError], None]) -> None:
        self._sluice = sluice
        self._tally = tally
        self._give_up = give_up
        self._of_batch: dict[UUID, list[Result]] = defaultdict(list)
        self._finished: set[UUID] = set()
        self._ids: set[UUID] = set()
        self._alone = asyncio.Semaphore(WAITING_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    def follow(self, result: Result, batch_id: UUID | None = None) -> None:
        """Take note of how this document ends."""
        assert result.document_id is not None
        self._ids.add(result.document_id)
        self._tally.to_follow += 1
        self._tally.followed_at = self._tally.followed_at or monotonic()
        if batch_id is None or batch_id in self._finished:
            self._start(self._follow_one(result))
            return
        if batch_id not in self._of_batch:
            self._start(self._follow_batch(batch_id))
        self._of_batch[batch_id].append(result)

    async def finish(self) -> None:
        """Return when all are final, or the server is given up."""
        while self._tasks:
            await asyncio.gather(*self._tasks)

    async def cancel(self) -> None:
        """Follow none any more."""
        for task in (tasks := list(self._tasks)):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow_one(self, result: Result) -> None:
        assert result.document_id is not None
        async with self._alone:
            try:
                result.settle(await self._sluice.wait(result.document_id))
            except SluiceError as error:
                if is_unreachable(error):
                    self._give_up(error)
                    return
                result.fail(error)  # It was deleted meanwhile, for one.
        self._tally.finals[None] += 1
        self._tally.failures[None] += result.trouble is not None

    async def _follow_batch(self, batch_id: UUID) -> None:
        pause_s = FIRST_LOOK_S
        try:
            while True:
                batch = await self._sluice.batch(batch_id)
                failed = batch.by_status.get("FAILED", 0)
                if batch.error is not None:
                    break
                self._count(batch_id, batch.by_status.get("COMPLETED", 0) + failed, failed)
                if batch.is_final:
                    await self._settle_batch(batch_id)
                    return
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 1.5, LAST_LOOK_S)
        except SluiceError as error:
            if is_unreachable(error):
                self._give_up(error)
                return
        # It ended early, and may not know all that was taken, or nothing at all.
        self._finished.add(batch_id)
        self._count(batch_id, 0, 0)
        for result in self._of_batch[batch_id]:
            self._start(self._follow_one(result))

    def _count(self, batch_id: UUID, finals: int, failed: int) -> None:
        # The server may have taken some whose answers have not come to us yet.
        known = len(self._of_batch[batch_id])
        self._tally.finals[batch_id] = min(finals, known)
        self._tally.failures[batch_id] = min(failed, known)

    async def _settle_batch(self, batch_id: UUID) -> None:
        failed = {
            document.document_id: document
            async for document in self._sluice.documents(batch_id=batch_id, status="FAILED", page_size=500)
        }
        self._finished.add(batch_id)
        results = self._of_batch[batch_id]
        for result in results:
            result.status = "COMPLETED"
            if result.document_id in failed:
                result.settle(failed[result.document_id])
        self._count(batch_id, len(results), sum(result.trouble is not None for result in results))

    async def watch_waiting(self, collection: str) -> None:
        """Keep the tally's `waiting`, until cancelled; the server is asked while nothing becomes final."""
        while True:
            done = self._tally.done
            await asyncio.sleep(LOOK_AT_WAITING_S)
            try:
                is_still = bool(self._tasks) and self._tally.done == done
                self._tally.waiting = await self._waiting(collection) if is_still else None
            except SluiceError:
                return  # Whoever needs the server will say so.

    async def _waiting(self, collection: str) -> Waiting | None:
        """Of ours, among the newest that are PENDING."""
        found: list[tuple[datetime, UUID]] = []
        pending = self._sluice.documents(status="PENDING", collection=collection, page_size=LOOKED_AT)
        async with aclosing(pending):
            number = 0
            async for document in pending:
                if document.next_attempt_at and document.document_id in self._ids:
                    found.append((document.next_attempt_at, document.document_id))
                number += 1
                if number == LOOKED_AT:
                    break
        if not found:
            return None
        next_try_at, first = min(found)
        attempts = await self._sluice.attempts(first)
        error = attempts[-1].error if attempts else None
        return Waiting(len(found), next_try_at, error.message if error else "")

    async def watch_stages(self, collection: str) -> None:
        """Keep the tally's `stages`, for somebody who looks at them; until cancelled."""
        while True:
            found = self._sluice.documents(
                status="PROCESSING", collection=collection, page_size=SHOWN_AT_ONCE
            )
            stages: Counter[str] = Counter()
            try:
                async with aclosing(found):
                    async for document in found:
                        stages[document.stage or "claimed"] += 1
                        if stages.total() == SHOWN_AT_ONCE:
                            break
            except SluiceError:
                return  # Whoever needs the server will say so.
            self._tally.stages = stages
            await asyncio.sleep(LOOK_AT_STAGES_S)
