"""Progress on its way from workers to those who listen, beside what the log says of the same documents."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from uuid import UUID

import structlog

from app.core.progress_channel import REDIS_UNREACHABLE, ProgressChannel
from app.core.tasks import end
from app.models.document_status import DocumentStatus
from app.models.event_log import Change, EventFilter, Run
from app.services.progress import Step

log = structlog.get_logger(__name__)

#: Documents that are remembered, those that changed last.
MOST_KNOWN = 10_000

#: Documents whose last step waits for the next look; what is more is dropped.
MOST_WAITING = 10_000

#: Between two tries to reach Redis.
AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class _Known:
    collection: str
    batches: frozenset[UUID] | None  # None: nobody has asked for them.
    attempt: int
    is_in_hand: bool


class ProgressFeed:
    """Gathers steps between two looks, and lets through what fits to what the log has told.

    A step that comes late, of a document that has been told to be final, must not be told after that.
    """

    def __init__(self, channel: ProgressChannel) -> None:
        self._channel = channel
        self._known: OrderedDict[UUID, _Known] = OrderedDict()
        self._steps: dict[UUID, Step] = {}

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Gather, for as long as the block lasts."""
        gathering = asyncio.create_task(self._gather(), name="progress")
        try:
            yield
        finally:
            await end(gathering)
            self._steps.clear()
            self._known.clear()

    async def _gather(self) -> None:
        while True:
            try:
                async for message in self._channel.messages():
                    step = Step.parse(message)
                    if step is not None and (
                        len(self._steps) < MOST_WAITING or step.document_id in self._steps
                    ):
                        self._steps[step.document_id] = step
            except REDIS_UNREACHABLE as error:
                log.debug("progress_unheard", error=str(error) or type(error).__name__)
            except Exception as error:  # uvloop's, of a connection that broke in the middle of a call.
                log.warning("progress_unheard", error=str(error) or type(error).__name__)
            await asyncio.sleep(AGAIN_S)

    def learn(self, changes: Sequence[Change], *, with_batches: bool) -> list[Change]:
        """Note how documents are. What is deleted is in no batch any more, but is remembered to have been.

        Args:
            changes: What the log has told.
            with_batches: Whether they say in which batches they are.
        """
        return [self._learned(change, with_batches=with_batches) for change in changes]

    def _learned(self, change: Change, *, with_batches: bool) -> Change:
        known = self._known.get(change.document_id)
        if known is not None and known.batches and not change.batches:
            change = replace(change, batches=known.batches)
        batches = change.batches if with_batches or change.batches else None
        is_in_hand = change.status == DocumentStatus.PROCESSING
        self._note(change.document_id, _Known(change.collection, batches, change.attempt, is_in_hand))
        return change

    def _note(self, document_id: UUID, known: _Known) -> None:
        self._known[document_id] = known
        self._known.move_to_end(document_id)
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)

    async def take(self, wanted: Collection[EventFilter], run: Run) -> list[Step]:
        """The last step of each document since the last time, where anybody may want it."""
        steps, self._steps = list(self._steps.values()), {}
        if all(each.document_id is not None for each in wanted):
            ids = {each.document_id for each in wanted}
            steps = [step for step in steps if step.document_id in ids]
        with_batches = any(each.batch_id is not None for each in wanted)
        unknown = [
            step.document_id
            for step in steps
            if not self._is_known(step.document_id, with_batches=with_batches)
        ]
        if unknown:
            await self._look_up(unknown, run)
        return [step for step in steps if self._fits(step)]

    def _is_known(self, document_id: UUID, *, with_batches: bool) -> bool:
        known = self._known.get(document_id)
        return known is not None and (known.batches is not None or not with_batches)

    async def _look_up(self, document_ids: Sequence[UUID], run: Run) -> None:
        """Those that were in hand already when listening began."""
        rows = await run(
            """
            SELECT id, collection, attempt, status,
                ARRAY(SELECT batch_id FROM batch_items WHERE document_id = documents.id) AS batches
            FROM documents WHERE id = ANY($1)
            """,
            document_ids,
        )
        for row in rows:
            is_in_hand = row["status"] == DocumentStatus.PROCESSING
            self._note(
                row["id"],
                _Known(row["collection"], frozenset(row["batches"]), row["attempt"], is_in_hand),
            )

    def _fits(self, step: Step) -> bool:
        known = self._known.get(step.document_id)
        return known is not None and known.is_in_hand and known.attempt == step.attempt

    def is_wanted(self, step: Step, wanted: EventFilter) -> bool:
        """Whether a step that fits is one of those."""
        known = self._known.get(step.document_id)
        return (
            known is not None
            and wanted.wants_of(step.document_id, known.collection, known.batches or frozenset())
            and (wanted.statuses is None or DocumentStatus.PROCESSING in wanted.statuses)
        )
