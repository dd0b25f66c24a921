"""`dramatiq tests.chaos.tampered_worker`: the worker, with what CHAOS_TAMPER names changed inside."""

from tests.chaos.tampering import tamper

tamper()

from app.jobs.ingestion_job import broker, process_ingestion  # noqa: E402  # What is changed has to be first.

__all__ = ["broker", "process_ingestion"]
