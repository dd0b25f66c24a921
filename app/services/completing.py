"""Completes what the documents of a process have come to: small ones together, large ones by themselves."""

from __future__ import annotations

from app.core.database import database_error
from app.models.completion import Done, Ingested, complete
from app.models.document import Document
from app.services.grouping import Grouped

#: Documents with more chunks are stored by themselves: others are not to wait for them.
SMALL_CHUNKS = 64

#: Small documents in one transaction.
TOGETHER = 32


class Completions:
    """The commits of one worker process."""

    def __init__(self) -> None:
        self._small = Grouped(
            complete, at_most=TOGETHER, is_shared=lambda error: database_error(error) is not None
        )

    async def complete(self, document: Document, ingested: Ingested) -> bool:
        """`Document.complete`, in company where there is some."""
        if len(ingested.chunks) > SMALL_CHUNKS:
            return await document.complete(ingested)
        return await self._small(Done(document, ingested))
