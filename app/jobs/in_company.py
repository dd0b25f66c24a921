"""A document and a few small ones beside it, claimed together and ingested in one go, which costs less."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from itertools import chain

import redis
import structlog
from structlog.contextvars import bound_contextvars

from app.jobs.insisting import insist
from app.jobs.worker import worker_name
from app.models import backlog
from app.models.document import Document
from app.services.ingestion_service import IngestionService
from app.services.load import is_file
from app.services.resources import WorkerResources

log = structlog.get_logger(__name__)

#: A document that has waited so long was in a long queue.
LONG_QUEUE = timedelta(seconds=0.1)


class InCompany:
    """Ingests documents, those of a long queue together.

    Its company is small, so that nobody has to wait long for it, and no other worker misses it. What does not
    go well in company is ingested alone: there is one place that knows what a failure means.

    Args of the constructor:
        resources: Of this process.
        service: Ingests what can be ingested in one go.
        alone: Ingests one document, and leaves its row in the state that tells what came of it.
        forget: Takes messages back, by their ids, that would find their documents claimed; blocks.
    """

    def __init__(
        self,
        resources: WorkerResources,
        service: IngestionService,
        *,
        alone: Callable[[Document], Awaitable[None]],
        forget: Callable[[Sequence[str]], None],
    ) -> None:
        self._resources = resources
        self._service = service
        self._alone = alone
        self._forget = forget

    async def ingest(self, document: Document) -> None:
        """Ingest it, and a few of the next ones beside it if it is small and the queue is long.

        Raises:
            Exception: What `alone` raised for this one. What became of the others is told, and their rows
                know when they are due again.
        """
        has_waited = document.updated_at - document.sent_at > LONG_QUEUE  # Of which the claim was the end.
        is_small = not is_file(document) and not document.failures
        if not (is_small and has_waited):
            await self._alone(document)
            return
        with self._resources.leases.renewed(document):  # Where all connections are busy, that takes its time.
            others = await self._claimed()
        forgetting = asyncio.create_task(self._forget_messages(others))
        company = self._resources.company
        # Also when it has none: the pace of a slow minute would keep it alone for ever.
        with company.pace.under_way():
            parties = company.parties([document, *others])
            failures = await asyncio.gather(*map(self._ingest_party, parties))
            await forgetting
        own = (error for failed, error in chain.from_iterable(failures) if failed is document)
        if (error := next(own, None)) is not None:
            raise error

    async def _claimed(self) -> Sequence[Document]:
        lease_s = self._resources.settings.LEASE_S
        with self._resources.company.room() as room:
            try:
                if room:
                    return await backlog.claim_company(limit=room, owner=worker_name(), lease_s=lease_s)
            except Exception as error:  # They have messages of their own.
                log.warning("company_not_claimed", error=str(error) or type(error).__name__)
        return ()

    async def _ingest_party(self, documents: Sequence[Document]) -> Sequence[tuple[Document, Exception]]:
        """Those that failed, and of what: none fails for another's sake."""
        pace = self._resources.company.pace
        left = await self._ingest_together(documents)
        pace.ended(len(documents) - len(left))
        errors = await asyncio.gather(*map(self._alone, left), return_exceptions=True)
        pace.ended(len(left))
        ends = zip(left, errors, strict=True)
        return [(document, error) for document, error in ends if isinstance(error, Exception)]

    async def _ingest_together(self, documents: Sequence[Document]) -> Sequence[Document]:
        """Ingest in one go what can be, and return the rest, which wants attempts of its own.

        Never fails: what fails here fails there again, where it is known for whom and what is to be done.
        """
        if len(documents) == 1:
            return documents
        try:
            async with self._resources.leases.held(*documents):
                done = await self._service.ingest_together(documents)
                together = self._resources.together
                completed = await insist(lambda: together.complete_all(done)) if done else ()
        except Exception as error:
            log.debug("company_parted", documents=len(documents), error=str(error) or type(error).__name__)
            return documents
        for (document, ingested), is_completed in zip(done, completed, strict=True):
            with bound_contextvars(document_id=str(document.id), attempt=document.attempt):
                if is_completed:
                    log.info("document_completed", chunks=len(ingested.chunks))
                else:
                    log.warning("document_abandoned")
        ended = {document.id for document, _ in done}
        return [document for document in documents if document.id not in ended]

    async def _forget_messages(self, documents: Sequence[Document]) -> None:
        """They would find their documents claimed: each a round trip to Redis, and one to the database."""
        if not documents:
            return
        try:
            await asyncio.to_thread(self._forget, [document.message_id for document in documents])
        except redis.RedisError as error:
            log.debug("messages_not_forgotten", error=str(error))
