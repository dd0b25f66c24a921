"""The worker: `dramatiq app.jobs.ingestion_job`."""

from __future__ import annotations

from uuid import UUID

import dramatiq
import structlog
from dramatiq.middleware import AsyncIO
from structlog.contextvars import bound_contextvars

from app.core.queue import broker, settings  # Sets the global broker: before any actor is declared.
from app.errors import Interrupted, LeaseLost, PermanentError, ServiceError
from app.jobs.reconciler import Reconciler
from app.jobs.worker import WorkerLifecycle, worker_name, worker_resources
from app.models.document import MAX_FAILURES, Document
from app.services.ingestion_service import IngestionService
from app.services.resources import WorkerResources

log = structlog.get_logger(__name__)


@dramatiq.actor(
    max_retries=MAX_FAILURES - 1,
    throws=PermanentError,
    min_backoff=round(settings.RETRY_BACKOFF_S * 1000),
    max_backoff=round(settings.RETRY_BACKOFF_S * 1000 * 2**MAX_FAILURES),
)
async def process_ingestion(document_id: str) -> None:
    """Ingest one document, and leave its row in the state that tells what came of it.

    The message is only a doorbell: a document that is not due, held by another worker, final or deleted is
    left alone, so late, doubled and forged messages do no harm.
    """
    resources = worker_resources()
    document = await _claim(document_id, resources)
    if document is None:
        return
    with bound_contextvars(document_id=document_id, attempt=document.attempt):
        try:
            service = IngestionService(
                store=resources.store,
                parser=resources.parser,
                chunker=resources.chunker,
                embedder=resources.embedder,
            )
            async with resources.leases.held(document):
                ingested = await service.ingest_document(document)
            if not await document.complete(ingested):
                raise LeaseLost("Somebody else has the document now.")
            log.info("document_completed", chunks=len(ingested.chunks))
        except LeaseLost:
            log.warning("document_abandoned")
        except Interrupted:
            await document.hand_back()
            log.info("document_handed_back")
        except PermanentError as error:
            log.warning("document_failed", code=error.code, error=str(error))
            await document.fail(error)
            raise
        except Exception as error:
            failures = document.failures + 1
            log.error(
                "attempt_failed" if failures < MAX_FAILURES else "document_failed",
                failures=failures,
                error=str(error),
                exc_info=not isinstance(error, ServiceError),  # What has a name needs no traceback.
            )
            await document.release(error, backoff_s=resources.settings.RETRY_BACKOFF_S)
            raise


async def _claim(document_id: str, resources: WorkerResources) -> Document | None:
    try:
        known_id = UUID(document_id)
    except ValueError:
        log.warning("message_malformed", document_id=document_id[:64])
        return None
    if resources.leases.is_stopping:
        await Document.put_back_unsent([known_id])  # For another worker.
        return None
    return await Document.claim(known_id, owner=worker_name(), lease_s=resources.settings.LEASE_S)


broker.add_middleware(
    WorkerLifecycle(
        settings,
        Reconciler(
            send=process_ingestion.send,
            queue_length=lambda: broker.do_qsize(process_ingestion.queue_name),
            every_s=settings.SWEEP_S,
        ),
    ),
    after=AsyncIO,
)
