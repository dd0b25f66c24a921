"""Takes many documents in, as they come: small ones in groups, each group in a statement or three."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog

from app.core.database import database_error
from app.errors import (
    DatabaseFull,
    DatabaseUnavailable,
    RequestFailed,
    ServiceError,
    TooManyItems,
)
from app.models import acceptance
from app.models.acceptance import Accepted, NewDocument
from app.models.batch import Batch, ItemResult
from app.models.reach import Reach
from app.models.told_error import told
from app.services.intake_service import IntakeService, Offer, small_document

log = structlog.get_logger(__name__)

#: Documents, and bytes of them, that are made durable together.
GROUP_ITEMS = 200
GROUP_BYTES = 4 * 1024 * 1024

#: How long the first of a group waits for others.
PATIENCE_S = 0.2


@dataclass(frozen=True, slots=True)
class Refused:
    """An item that cannot be offered at all."""

    error: ServiceError
    name: str | None = None


@dataclass(frozen=True, slots=True)
class _Entry:
    """An item that has been looked at: exactly one of the last three is set."""

    index: int
    name: str | None
    small: NewDocument | None = None
    large: Offer | None = None
    error: ServiceError | None = None

    @property
    def size_bytes(self) -> int:
        return 0 if self.small is None else self.small.size_bytes


class BatchService:
    """Accepts what `IntakeService` accepts, many at a time, and writes down what became of each."""

    def __init__(self, *, intake: IntakeService, max_items: int) -> None:
        self.intake = intake
        self.max_items = max_items

    async def take(
        self, batch_id: UUID, items: AsyncIterator[Offer | Refused], reach: Reach
    ) -> AsyncIterator[list[ItemResult]]:
        """Accept the items that lie within reach; each group of results comes when it is durable.

        An offer's content is read before the next item is asked for.

        Raises:
            TooManyItems: There are more; those before were taken.
            ServiceError: The surroundings failed in a way that the next items would not survive either.
            Exception: Whatever `items` raises; those before were taken.
        """
        async for group in self._grouped(self._entries(items, reach)):
            results, trouble = await self._settled(group, reach)
            try:
                await Batch.note(batch_id, results, reach)
            except Exception as error:
                trouble = trouble or database_error(error)
                if trouble is None:
                    raise
            yield results
            if trouble is not None:
                raise trouble

    async def _entries(self, items: AsyncIterator[Offer | Refused], reach: Reach) -> AsyncIterator[_Entry]:
        index = 0
        async for item in items:
            if index == self.max_items:
                raise TooManyItems(self.max_items)
            yield self._looked_at(index, item, reach)
            index += 1

    def _looked_at(self, index: int, item: Offer | Refused, reach: Reach) -> _Entry:
        if isinstance(item, Refused):
            return _Entry(index, item.name, error=item.error)
        name = item.path or item.external_id
        try:
            reach.require(item.collection)
            content = item.content.read(self.intake.inline_content_bytes + 1)
            if len(content) > self.intake.inline_content_bytes:
                item.content.seek(0)
                return _Entry(index, name, large=item)
            return _Entry(index, name, small=small_document(item, content))
        except ServiceError as error:
            return _Entry(index, name, error=error)

    @staticmethod
    async def _grouped(entries: AsyncIterator[_Entry]) -> AsyncIterator[list[_Entry]]:
        """Groups that are full, or whose first has waited long enough; a large one comes alone."""
        loop = asyncio.get_running_loop()
        group: list[_Entry] = []
        size_bytes, due_at = 0, 0.0
        coming: asyncio.Task[_Entry | None] | None = None
        try:
            while True:
                coming = coming or asyncio.create_task(_next(entries))
                done, _ = await asyncio.wait(
                    {coming}, timeout=max(due_at - loop.time(), 0) if group else None
                )
                has_come = bool(done) and coming.exception() is None
                entry = coming.result() if has_come else None
                is_alone = entry is not None and entry.large is not None
                if group and (entry is None or is_alone):
                    yield group
                    group, size_bytes = [], 0
                if not done:
                    continue
                if entry is None:
                    coming.result()  # Raises what has stopped it.
                    return
                if is_alone:
                    yield [entry]
                else:
                    due_at = due_at if group else loop.time() + PATIENCE_S
                    group.append(entry)
                    size_bytes += entry.size_bytes
                    if len(group) >= GROUP_ITEMS or size_bytes >= GROUP_BYTES:
                        yield group
                        group, size_bytes = [], 0
                coming = None
        finally:
            if coming is not None and not coming.done():
                coming.cancel()
                await asyncio.wait({coming})

    async def _settled(
        self, group: list[_Entry], reach: Reach
    ) -> tuple[list[ItemResult], ServiceError | None]:
        """What became of each, and what makes it useless to go on."""
        accepted = await self._together([entry for entry in group if entry.small is not None])
        results, trouble = [], None
        for entry in group:
            outcome = (
                entry.error or accepted.get(entry.index) or trouble or await self._accepted(entry, reach)
            )
            if isinstance(outcome, DatabaseUnavailable | DatabaseFull):
                trouble = outcome
            results.append(_result(entry, outcome))
        return results, trouble

    @staticmethod
    async def _together(group: list[_Entry]) -> dict[int, Accepted]:
        """By their index, those that could be accepted in one go; the others need a closer look."""
        try:
            accepted = await acceptance.accept_many([entry.small for entry in group if entry.small])
        except Exception as error:  # Each finds out for itself whether it was the one.
            log.warning("group_not_accepted", error=str(error) or type(error).__name__)
            return {}
        return {entry.index: each for entry, each in zip(group, accepted, strict=True) if each is not None}

    async def _accepted(self, entry: _Entry, reach: Reach) -> Accepted | ServiceError:
        """One by itself, with all that `accept` knows."""
        try:
            if entry.large is not None:
                return await self.intake.accept(entry.large, reach)
            assert entry.small is not None
            return await self.intake.accept_small(entry.small)
        except ServiceError as error:
            return error
        except Exception as error:
            known = database_error(error)
            if known is None:
                log.exception("item_failed", index=entry.index)
            return known or RequestFailed()


async def _next(entries: AsyncIterator[_Entry]) -> _Entry | None:
    return await anext(entries, None)


def _result(entry: _Entry, outcome: Accepted | ServiceError) -> ItemResult:
    if isinstance(outcome, ServiceError):
        return ItemResult(index=entry.index, name=entry.name, error=told_plainly(outcome))
    return ItemResult(
        index=entry.index,
        name=entry.name,
        document_id=outcome.document_id,
        status=outcome.status,
        created=outcome.created,
        queued=outcome.queued,
        message_id=outcome.message_id,
    )


def told_plainly(error: Exception) -> dict[str, Any]:
    """An error that has no stage: `code, message, retryable, hint`."""
    said = told(error, stage=None)
    del said["stage"]
    return said
