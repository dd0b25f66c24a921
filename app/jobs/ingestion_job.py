"""The worker: `dramatiq app.jobs.ingestion_job`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from itertools import chain
from typing import TypeVar
from uuid import UUID

import dramatiq
import redis
import structlog
from dramatiq.middleware import AsyncIO
from structlog.contextvars import bound_contextvars

from app.core.database import database_error
from app.core.queue import broker, settings  # Sets the global broker: before any actor is declared.
from app.errors import Interrupted, LeaseLost, ModelChanged, PermanentError, ServiceError
from app.jobs.lanes import Lanes
from app.jobs.overtaking import overtake
from app.jobs.reconciler import Reconciler
from app.jobs.webhook_job import sweep_for_ever
from app.jobs.worker import WorkerLifecycle, worker_name, worker_resources
from app.models import backlog
from app.models.document import MAX_FAILURES, Document
from app.services.ingestion_service import IngestionService
from app.services.resources import WorkerResources

log = structlog.get_logger(__name__)

T = TypeVar("T")

#: How long a worker tries to write down how an attempt ended, while the database restarts. When the lease has
#: run out, others take the document over, and nothing of ours is written any more.
INSIST_S = 15
INSIST_EVERY_S = 0.5

#: A document that has waited so long was in a long queue.
LONG_QUEUE = timedelta(seconds=0.1)


@dramatiq.actor(max_retries=MAX_FAILURES - 1, throws=PermanentError)
async def process_ingestion(document_id: str) -> None:
    """Ingest one document, and leave its row in the state that tells what came of it.

    The message is only a doorbell: one that is not due, held by another worker, final or deleted is left
    alone, so late, doubled and forged messages do no harm. And whose turn comes before is ingested instead.
    """
    resources = worker_resources()
    document = await _claim(document_id, resources)
    if document is not None:
        with resources.load.claimed():
            await _ingest_in_company(document, resources)


async def work_on_next(*, small_only: bool = False) -> bool:
    """Ingest whichever document is due, without a message; False when none is, or this process stops."""
    resources = worker_resources()
    if resources.leases.is_stopping:
        return False
    claim = backlog.claim_small if small_only else backlog.claim_due
    document = await claim(owner=worker_name(), lease_s=resources.settings.LEASE_S)
    if document is None:
        return False
    with suppress(
        Exception
    ):  # It has been logged, and the row knows when it is due again: no message has to.
        await _ingest_in_company(document, resources)
    return True


async def take_by_room() -> None:
    """Leave messages in the queue for others while this process has enough in hand; until cancelled."""
    resources = worker_resources()
    with broker.fetching_while(process_ingestion.queue_name, resources.load.has_room):
        await overtake(
            resources.leases,
            resources.load,
            lanes,
            work_on_small=partial(work_on_next, small_only=True),
            work_on_next=work_on_next,
        )


async def _claim(document_id: str, resources: WorkerResources) -> Document | None:
    try:
        known_id = UUID(document_id)
    except (ValueError, AttributeError, TypeError):
        log.warning("message_malformed", document_id=str(document_id)[:64])
        return None
    if resources.leases.is_stopping:
        await backlog.put_back_unsent([known_id])  # For another worker.
        return None
    return await backlog.claim_next(known_id, owner=worker_name(), lease_s=resources.settings.LEASE_S)


async def _ingest_in_company(document: Document, resources: WorkerResources) -> None:
    """Ingest it, and a few of the next ones beside it if the queue is long: together they cost much less.

    They are small, so that nobody has to wait long for the others, and no other worker misses them.
    """
    has_waited = document.updated_at - document.sent_at > LONG_QUEUE  # Of which the claim was the end.
    is_small = document.content_key is None and not document.failures
    if not (is_small and has_waited):
        await _ingest(document, resources)
        return
    with resources.leases.renewed(document):  # Where all connections are busy, that takes its time.
        others = await _claim_company(resources)
    forgetting = asyncio.create_task(_forget_messages(others))
    # Also when it has none: the pace of a slow minute would keep it alone for ever.
    with resources.company.pace.under_way():
        parties = resources.company.parties([document, *others])
        failures = await asyncio.gather(*(_ingest_party(party, resources) for party in parties))
        await forgetting
    # What became of the others is told, and their rows know when they are due again.
    own = (error for failed, error in chain.from_iterable(failures) if failed is document)
    if (error := next(own, None)) is not None:
        raise error


async def _claim_company(resources: WorkerResources) -> Sequence[Document]:
    lease_s = resources.settings.LEASE_S
    with resources.company.room() as room:
        try:
            if room:
                return await backlog.claim_company(limit=room, owner=worker_name(), lease_s=lease_s)
        except Exception as error:  # They have messages of their own.
            log.warning("company_not_claimed", error=str(error) or type(error).__name__)
    return ()


async def _ingest_party(
    documents: Sequence[Document], resources: WorkerResources
) -> Sequence[tuple[Document, Exception]]:
    """Those that failed, and of what: none fails for another's sake."""
    left = await _ingest_together(documents, resources)
    resources.company.pace.ended(len(documents) - len(left))
    errors = await asyncio.gather(*(_ingest(each, resources) for each in left), return_exceptions=True)
    resources.company.pace.ended(len(left))
    ends = zip(left, errors, strict=True)
    return [(document, error) for document, error in ends if isinstance(error, Exception)]


async def _ingest_together(documents: Sequence[Document], resources: WorkerResources) -> Sequence[Document]:
    """Ingest in one go what can be, and return the rest, which wants attempts of its own.

    Never fails: what fails here fails there again, where it is known for whom and what is to be done.
    """
    if len(documents) == 1:
        return documents
    try:
        async with resources.leases.held(*documents):
            done = await _service(resources).ingest_together(documents)
            completed = await _insist(lambda: resources.together.complete_all(done)) if done else ()
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


async def _forget_messages(documents: Sequence[Document]) -> None:
    """They would find their documents claimed: each a round trip to Redis, and one to the database."""
    if not documents:
        return
    message_ids = [document.message_id for document in documents]
    try:
        await asyncio.to_thread(broker.forget, process_ingestion.queue_name, message_ids)
    except redis.RedisError as error:
        log.debug("messages_not_forgotten", error=str(error))


async def _ingest(document: Document, resources: WorkerResources) -> None:
    with bound_contextvars(document_id=str(document.id), attempt=document.attempt):
        try:
            await _attempt(document, resources)
        except LeaseLost:
            log.warning("document_abandoned")
        except (Interrupted, ModelChanged):
            await _insist(document.hand_back)
            log.info("document_handed_back")
        except PermanentError as error:
            log.warning("document_failed", code=error.code, error=str(error))
            permanent = error
            await _insist(lambda: document.fail(permanent))
            raise
        except Exception as error:
            failures = document.failures + 1
            log.error(
                "attempt_failed" if failures < MAX_FAILURES else "document_failed",
                failures=failures,
                error=str(error),
                exc_info=not isinstance(error, ServiceError),  # What has a name needs no traceback.
            )
            transient = error
            # Dramatiq's retry reads it off the error (RowRetries).
            error.retry_in_s = await _insist(  # type: ignore[attr-defined]
                lambda: document.release(transient, backoff_s=resources.settings.RETRY_BACKOFF_S)
            )
            raise


async def _attempt(document: Document, resources: WorkerResources) -> None:
    async with resources.leases.held(document):
        ingested = await _service(resources).ingest_document(document)
        if document.progress_unit is not None:  # Storing is counted where it takes a while.
            await resources.leases.write_down(document)
        is_completed = await _insist(lambda: resources.together.complete(document, ingested))
    if not is_completed:
        # Or else it was completed by the try before, of which only the answer was lost.
        raise LeaseLost("Somebody else has the document now.")
    log.info("document_completed", chunks=len(ingested.chunks))


def _service(resources: WorkerResources) -> IngestionService:
    return IngestionService(
        store=resources.store,
        parser=resources.parser,
        chunker_for=resources.chunker_for,
        embedders=resources.embedders,
        together=resources.together,
        load=resources.load,
    )


async def _insist(move: Callable[[], Awaitable[T]]) -> T:
    """Make a move although the database is restarting just now. The fence makes it safe to try it twice.

    Raises:
        DatabaseUnavailable, DatabaseBusy, DatabaseFull: It has been like that for too long.
    """
    give_up_at = time.monotonic() + INSIST_S
    while True:
        try:
            return await move()
        except Exception as error:
            away = database_error(error)
            if away is None:
                raise
            if time.monotonic() > give_up_at:
                raise away from error
            log.warning(away.code, error=str(error) or type(error).__name__)
        await asyncio.sleep(INSIST_EVERY_S)


#: The reconciler's, who waits for them when the process stops.
lanes = Lanes()

broker.add_middleware(
    WorkerLifecycle(
        settings,
        Reconciler(
            send=process_ingestion.send,
            look=lambda: broker.look(process_ingestion.queue_name),
            mark=broker.mark,
            work_on_next=work_on_next,
            lanes=lanes,
            every_s=settings.SWEEP_S,
            backoff_s=settings.RETRY_BACKOFF_S,
        ),
        {"webhooks": sweep_for_ever, "room": take_by_room},
    ),
    after=AsyncIO,
)
