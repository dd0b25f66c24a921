"""The worker: `dramatiq app.jobs.ingestion_job`."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from uuid import UUID

import dramatiq
import structlog
from dramatiq.middleware import AsyncIO
from structlog.contextvars import bound_contextvars

from app.core.queue import broker, settings  # Sets the global broker: before any actor is declared.
from app.errors import Interrupted, LeaseLost, ModelChanged, PermanentError, ServiceError
from app.jobs.in_company import InCompany
from app.jobs.insisting import insist
from app.jobs.lanes import Lanes
from app.jobs.overtaking import overtake
from app.jobs.reconciler import Reconciler
from app.jobs.webhooks import deliver_for_ever
from app.jobs.worker import WorkerLifecycle, worker_name, worker_resources
from app.models import backlog
from app.models.document import MAX_FAILURES, Document
from app.services.ingestion_service import IngestionService
from app.services.resources import WorkerResources

log = structlog.get_logger(__name__)


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
            await _in_company(resources).ingest(document)


async def work_on_next(*, small_only: bool = False) -> bool:
    """Ingest whichever document is due, without a message; False when none is, or this process stops."""
    resources = worker_resources()
    if resources.leases.is_stopping:
        return False
    claim = backlog.claim_small if small_only else backlog.claim_due
    document = await claim(owner=worker_name(), lease_s=resources.settings.LEASE_S)
    if document is None:
        return False
    with suppress(Exception):  # It has been logged. Its row knows when it is due again: no message has to.
        await _in_company(resources).ingest(document)
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


def _in_company(resources: WorkerResources) -> InCompany:
    return InCompany(
        resources,
        _service(resources),
        alone=partial(_ingest, resources=resources),
        forget=partial(broker.forget, process_ingestion.queue_name),
    )


async def _ingest(document: Document, resources: WorkerResources) -> None:
    with bound_contextvars(document_id=str(document.id), attempt=document.attempt):
        try:
            await _attempt(document, resources)
        except LeaseLost:
            log.warning("document_abandoned")
        except (Interrupted, ModelChanged):
            if await insist(document.hand_back):  # Or else it was done all the same.
                log.info("document_handed_back")
        except PermanentError as error:
            log.warning("document_failed", code=error.code, error=str(error))
            permanent = error
            await insist(lambda: document.fail(permanent))
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
            error.retry_in_s = await insist(  # type: ignore[attr-defined]
                lambda: document.release(transient, backoff_s=resources.settings.RETRY_BACKOFF_S)
            )
            raise


async def _attempt(document: Document, resources: WorkerResources) -> None:
    async with resources.leases.held(document):
        ingested = await _service(resources).ingest_document(document)
        if document.progress_unit is not None:  # Storing is counted where it takes a while.
            await resources.leases.write_down(document)
        is_completed = await insist(lambda: resources.together.complete(document, ingested))
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
            myself=worker_name,
            every_s=settings.SWEEP_S,
            backoff_s=settings.RETRY_BACKOFF_S,
        ),
        {"webhooks": deliver_for_ever, "room": take_by_room},
    ),
    after=AsyncIO,
)
