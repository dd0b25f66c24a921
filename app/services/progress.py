"""Tells how far documents have come, between the moments at which their rows say so."""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple
from uuid import UUID

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.core.progress_channel import REDIS_UNREACHABLE, ProgressChannel
from app.models.document import Document
from app.services.leases import Leases

log = structlog.get_logger(__name__)

#: How often a worker looks at what it has in hand; it tells what has changed, so of a document no oftener.
EVERY_S = 0.05

#: How long a worker does without a Redis that did not take its messages.
LEFT_ALONE_S = 5.0


class Step(BaseModel):
    """A document's progress, as it travels from process to process."""

    model_config = ConfigDict(frozen=True)

    document_id: UUID
    attempt: int
    stage: str | None = Field(max_length=10)
    unit: str = Field(max_length=10)
    done: int
    total: int | None

    @classmethod
    def parse(cls, message: bytes) -> Step | None:
        """What somebody sent; None when it is none of ours."""
        try:
            return cls.model_validate_json(message)
        except ValidationError:
            return None


class _Place(NamedTuple):
    """Where a document in hand is."""

    attempt: int
    stage: str | None
    unit: str
    done: int
    total: int | None


def _place(document: Document) -> _Place | None:
    """None in a stage that is not counted."""
    if document.progress_unit is None:
        return None
    done = document.progress_done or 0
    return _Place(document.attempt, document.stage, document.progress_unit, done, document.progress_total)


class ProgressTeller:
    """Sends the steps of all that a worker holds."""

    def __init__(self, channel: ProgressChannel, leases: Leases) -> None:
        self._channel = channel
        self._leases = leases
        self._told: dict[UUID, _Place] = {}
        self._silent_until = 0.0

    async def run(self) -> None:
        """Look and tell, until cancelled."""
        while True:
            await self._leases.wait_for_work()
            await asyncio.sleep(EVERY_S)
            if news := self._news():
                await self._tell(news)

    def _news(self) -> list[Step]:
        told, self._told = self._told, {}
        news = []
        for document in self._leases.documents():
            if (place := _place(document)) is not None:
                self._told[document.id] = place
                if told.get(document.id) != place:  # A step takes ten times as long to make as to compare.
                    news.append(Step(document_id=document.id, **place._asdict()))
        return news

    async def _tell(self, news: list[Step]) -> None:
        if time.monotonic() < self._silent_until:
            return
        try:
            await self._channel.send([step.model_dump_json() for step in news])
        except REDIS_UNREACHABLE as error:
            # Nobody needs these: the rows say the same in half a second.
            log.debug("progress_not_told", error=str(error) or type(error).__name__)
            self._silent_until = time.monotonic() + LEFT_ALONE_S
        except Exception as error:  # uvloop's, of a connection that broke in the middle of a call.
            log.warning("progress_not_told", error=str(error) or type(error).__name__)
            self._silent_until = time.monotonic() + LEFT_ALONE_S
