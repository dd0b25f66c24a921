"""The job, called directly: what it makes of a document, and of its failures."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from unittest.mock import AsyncMock, patch

import pytest
from dramatiq.asyncio import get_event_loop_thread

from app.chunking.chunker import Chunker
from app.core.config import Settings
from app.core.queue import broker
from app.errors import EmbedderRefused, EmbedderUnavailable, NoText, TooManyChunks
from app.jobs.ingestion_job import process_ingestion
from app.jobs.webhooks import deliver_due
from app.jobs.worker import worker_resources
from app.models.attempt import Attempt
from app.models.chunk import Chunk
from app.models.collection import Collection
from app.models.document import Document, Ingested
from app.models.document_content import DocumentContent
from app.models.webhook import Webhook
from app.models.webhook_delivery import Delivery, Outcome
from app.services.ingestion_service import IngestionService
from app.services.webhook_sender import WebhookSender, new_secret
from tests.support import emptied_database, vectors_of

T = TypeVar("T")

NEVER = datetime(2999, 1, 1, tzinfo=UTC)
TEXT = "The upper gate opens at six in the morning. The lower gate opens when the chamber is full."


@pytest.fixture(autouse=True)
def worker(migrated: None) -> Iterator[None]:
    """This process as a worker: everything opened by the same hooks as under `dramatiq`, but no consumer."""
    broker.emit_before("worker_boot", None)
    run(emptied_database())
    yield
    broker.emit_after("worker_shutdown", None)


def run(work: Coroutine[None, None, T]) -> T:
    """Run a coroutine where the actors run."""
    loop = get_event_loop_thread()
    assert loop is not None
    return loop.run_coroutine(work)


async def seed(text: str = TEXT, **fields: object) -> Document:
    content = text.encode()
    document = await Document.create(
        status="PENDING", media_type="text/plain", sha256="0" * 64, size_bytes=len(content), **fields
    )
    await DocumentContent.create(document=document, content=content)
    return document


def reloaded(document: Document) -> Document:
    return run(Document.get(id=document.id))


def make_due(document: Document) -> None:
    """As if the wait before the next try were over."""
    run(Document.filter(id=document.id).update(next_attempt_at=document.created_at))


def test_a_pending_document_becomes_completed_with_chunks_and_embeddings() -> None:
    document = run(seed())

    process_ingestion(str(document.id))

    document = reloaded(document)
    assert (document.status, document.processing_errors) == ("COMPLETED", None)
    assert document.completed_at is not None
    chunks = run(Chunk.filter(document_id=document.id).order_by("ordinal"))
    assert len(chunks) == document.chunk_count == 1
    assert chunks[0].text == TEXT[chunks[0].char_start : chunks[0].char_end]
    assert (run(vectors_of(document.id)) ** 2).sum() == pytest.approx(1, abs=0.01)


def test_the_service_is_called_with_the_claimed_document_and_success_completes_it() -> None:
    document = run(seed())
    with patch("app.jobs.ingestion_job.IngestionService") as service:
        service.return_value.ingest_document = AsyncMock(
            return_value=Ingested(space_id=1, media_type="text/plain", title="Gates", warnings=[], chunks=[])
        )
        process_ingestion(str(document.id))

    (claimed,) = service.return_value.ingest_document.await_args.args
    assert (claimed.id, claimed.status, claimed.attempt) == (document.id, "PROCESSING", 1)
    document = reloaded(document)
    assert (document.status, document.title) == ("COMPLETED", "Gates")


def test_a_failing_service_leaves_the_document_failed_after_the_configured_number_of_retries() -> None:
    document = run(seed())
    max_retries = process_ingestion.options["max_retries"]
    with patch("app.jobs.ingestion_job.IngestionService") as service:
        service.return_value.ingest_document = AsyncMock(side_effect=RuntimeError("the disk is on fire"))
        for retry in range(max_retries):
            with pytest.raises(RuntimeError, match="on fire"):
                process_ingestion(str(document.id))
            waiting = reloaded(document)
            assert (waiting.status, waiting.stage, waiting.failures) == ("PENDING", "retry_wait", retry + 1)
            make_due(document)
        with pytest.raises(RuntimeError, match="on fire"):
            process_ingestion(str(document.id))

    assert service.return_value.ingest_document.await_count == max_retries + 1 == 6
    document = reloaded(document)
    assert (document.status, document.failures) == ("FAILED", 6)
    assert document.processing_errors is not None
    assert document.processing_errors.count("RuntimeError: the disk is on fire") == 6
    assert document.error == {
        "code": "internal_error",
        "stage": "parsing",
        "message": "RuntimeError: the disk is on fire",
        "retryable": True,
        "hint": "Look for the document's id in the logs, and report what you find there.",
    }


def test_a_permanent_error_fails_the_document_at_once() -> None:
    document = run(seed())
    with patch("app.jobs.ingestion_job.IngestionService") as service:
        service.return_value.ingest_document = AsyncMock(side_effect=NoText())
        with pytest.raises(NoText):
            process_ingestion(str(document.id))

    document = reloaded(document)
    assert (document.status, document.failures, document.attempt) == ("FAILED", 1, 1)
    assert document.error is not None
    assert (document.error["code"], document.error["retryable"]) == ("no_text", False)
    assert document.processing_errors == "attempt 1, parsing: no_text: The file has no text in it."


def test_a_document_of_nothing_but_unreadable_bytes_fails_with_a_code() -> None:
    document = run(seed("%PDF-1.7\nnot really"))

    with pytest.raises(Exception, match="damaged"):
        process_ingestion(str(document.id))

    failed = reloaded(document)
    assert failed.error is not None
    assert (failed.status, failed.error["code"]) == ("FAILED", "corrupt_file")


def test_a_message_for_a_document_that_is_not_due_does_nothing() -> None:
    document = run(seed())
    with patch("app.jobs.ingestion_job.IngestionService") as service:
        service.return_value.ingest_document = AsyncMock(side_effect=EmbedderUnavailable("429"))
        with pytest.raises(EmbedderUnavailable):
            process_ingestion(str(document.id))
        run(Document.filter(id=document.id).update(next_attempt_at=NEVER))
        process_ingestion(str(document.id))

    assert service.return_value.ingest_document.await_count == 1


def test_messages_for_documents_that_are_done_or_gone_or_nonsense_do_nothing() -> None:
    document = run(seed())
    process_ingestion(str(document.id))
    first = reloaded(document)

    process_ingestion(str(document.id))
    process_ingestion("00000000-0000-0000-0000-000000000000")
    process_ingestion("../../etc/passwd")

    assert reloaded(document).updated_at == first.updated_at


def test_a_document_of_too_many_chunks_fails_at_once_before_any_is_embedded() -> None:
    resources = worker_resources()
    document = run(seed("word " * 10_000))
    embedder = resources.embedders.default.embedder
    few = Chunker(embedder.token_offsets, chunk_tokens=16, overlap_tokens=0, max_tokens=254, max_chunks=10)

    with (
        patch(
            "app.jobs.ingestion_job.worker_resources",
            return_value=replace(resources, chunker_for=lambda _: few),
        ),
        patch.object(type(embedder), "embed", side_effect=AssertionError("embedded")),
        pytest.raises(TooManyChunks),
    ):
        process_ingestion(str(document.id))

    document = reloaded(document)
    assert document.error is not None
    assert (document.status, document.error["code"], document.error["stage"]) == (
        "FAILED",
        "too_many_chunks",
        "chunking",
    )


def test_the_worker_s_chunker_keeps_to_the_setting(settings: Settings) -> None:
    resources = worker_resources()
    chunker = resources.chunker_for(resources.embedders.default.embedder)
    assert chunker._max_chunks == settings.MAX_CHUNKS


def test_a_delivery_to_a_webhook_is_made_once() -> None:
    got: list[bytes] = []

    async def send(self: WebhookSender, url: str, *, secret: str, message_id: str, body: bytes) -> Outcome:
        if url == hook.url:  # At its start, the worker took in hand what other tests had left.
            got.append(body)
        return Outcome(seconds=0, status_code=204)

    async def delivered() -> list[str]:
        async with asyncio.timeout(10):
            while True:
                statuses = [each.status for each in await listed()]
                if {*statuses} == {"DELIVERED"}:
                    return statuses
                await asyncio.sleep(0.01)

    async def listed() -> list[Delivery]:
        return await Delivery.listed(hook.id, statuses=None, after=None, limit=10)

    hook = run(
        Webhook.create(url="https://example.org/once", secret=new_secret(), statuses=None, collections=None)
    )
    with patch.object(WebhookSender, "send", send):
        process_ingestion(str(run(seed()).id))
        run(deliver_due())  # Or the look of the worker that this process is, a moment earlier.
        run(deliver_due())
        assert run(delivered()) == ["DELIVERED"]
        assert len(got) == 1
        assert b'"type":"document.completed"' in got[0]


def long_queue(*texts: str, **fields: object) -> list[Document]:
    """Documents that have waited for a second."""

    async def seed_all() -> list[Document]:
        documents = [await seed(text, external_id=str(number), **fields) for number, text in enumerate(texts)]
        for document in documents:
            await Document.filter(id=document.id).update(sent_at=document.created_at - timedelta(seconds=1))
        return documents

    return run(seed_all())


def test_in_a_long_queue_small_documents_are_ingested_along_with_one() -> None:
    documents = long_queue(TEXT, TEXT, " \n ", *[TEXT] * 10)

    process_ingestion(str(documents[0].id))

    assert [reloaded(document).status for document in documents] == [
        "COMPLETED",
        "COMPLETED",
        "FAILED",  # There is no text in it, which is no failure of the one whose message it was.
        "COMPLETED",
        *["PENDING"] * 9,  # For others, or the next message.
    ]


def ingested_together(*texts: str, **fields: object) -> list[Document]:
    """The documents of these texts, once a worker that took the first one took all of them."""
    others = [TEXT] * 3 * (len(texts) - 1)  # That it leaves to other workers.
    documents = long_queue(*texts, *others, **fields)[: len(texts)]
    process_ingestion(str(documents[0].id))
    return [reloaded(document) for document in documents]


def chunks_of(document: Document) -> list[tuple[object, ...]]:
    chunks = run(Chunk.filter(document_id=document.id).order_by("ordinal"))
    vectors = run(vectors_of(document.id))
    return [
        (chunk.text, chunk.char_start, chunk.char_end, chunk.token_count, vector.tolist())
        for chunk, vector in zip(chunks, vectors, strict=True)
    ]


def told_of(document: Document) -> tuple[object, ...]:
    (attempt,) = run(Attempt.filter(document_id=document.id))
    return (
        document.status,
        document.media_type,
        document.title,
        document.warnings,
        document.chunk_count,
        document.space_id,
        attempt.outcome,
        attempt.stage,
        {*attempt.stage_seconds},
    )


def test_what_is_ingested_together_is_what_each_would_be_by_itself() -> None:
    texts = [TEXT, f"{TEXT}\n\n" * 100, TEXT, "A third one."]
    with patch.object(IngestionService, "ingest_document", side_effect=AssertionError("by itself")):
        documents = ingested_together(*texts)
    together = [(told_of(document), chunks_of(document)) for document in documents]
    run(emptied_database())
    alone = [run(seed(text, external_id=str(number))) for number, text in enumerate(texts)]
    for document in alone:
        process_ingestion(str(document.id))

    assert len(together[1][1]) > 2
    assert together == [(told_of(document), chunks_of(document)) for document in map(reloaded, alone)]


def test_those_of_several_collections_are_ingested_together_where_the_model_is_fast() -> None:
    documents = long_queue(*[TEXT] * 9)
    run(Collection.create(name="locks", chunk_tokens=16, overlap_tokens=0))
    run(Document.filter(id=documents[1].id).update(collection="locks"))
    with (
        patch("app.services.load.FAST", 0),
        patch.object(IngestionService, "ingest_document", side_effect=AssertionError("by itself")),
    ):
        process_ingestion(str(documents[0].id))

    assert [reloaded(document).chunk_count for document in documents[:3]] == [1, 2, 1]


def test_what_is_no_plain_text_or_cannot_be_split_is_ingested_by_itself() -> None:
    resources = worker_resources()
    embedder = resources.embedders.default.embedder
    few = Chunker(embedder.token_offsets, chunk_tokens=32, overlap_tokens=0, max_tokens=254, max_chunks=3)
    html = "<!DOCTYPE html><html><body><h1>Gates</h1><p>The upper gate opens at six.</p></body></html>"
    with patch(
        "app.jobs.ingestion_job.worker_resources",
        return_value=replace(resources, chunker_for=lambda _: few),
    ):
        documents = ingested_together(html, TEXT, "", "word " * 100)

    assert [document.status for document in documents] == ["COMPLETED", "COMPLETED", "FAILED", "FAILED"]
    assert [document.media_type for document in documents[:2]] == ["text/html", "text/plain"]
    errors = [document.error and document.error["code"] for document in documents]
    assert errors == [None, None, "empty_file", "too_many_chunks"]


def test_a_later_version_is_ingested_by_itself_as_it_may_have_vectors_left() -> None:
    documents = ingested_together(TEXT, TEXT, attempt=3)

    assert [(document.status, document.attempt) for document in documents] == [("COMPLETED", 4)] * 2


def test_a_failure_of_one_that_is_ingested_together_with_others_is_not_theirs() -> None:
    embedder = type(worker_resources().embedders.default.embedder)
    embed = embedder.embed

    async def fail(self: object, texts: Sequence[str], *arguments: object) -> object:
        if any("poison" in text for text in texts):
            raise EmbedderRefused("no")
        return await embed(self, texts, *arguments)  # type: ignore[arg-type]

    with patch.object(embedder, "embed", fail):
        documents = ingested_together(TEXT, "poison", TEXT)

    assert [document.status for document in documents] == ["COMPLETED", "FAILED", "COMPLETED"]
    assert [document.failures for document in documents] == [0, 1, 0]


def test_one_that_is_cancelled_meanwhile_stops_none_of_those_beside_it() -> None:
    embedder = type(worker_resources().embedders.default.embedder)
    embed = embedder.embed

    async def cancel(self: object, texts: Sequence[str], *arguments: object) -> object:
        (document,) = await Document.filter(external_id="1")
        await Document.cancel(document.id)
        return await embed(self, texts, *arguments)  # type: ignore[arg-type]

    with patch.object(embedder, "embed", cancel):
        documents = ingested_together(TEXT, TEXT, TEXT)

    assert [document.status for document in documents] == ["COMPLETED", "FAILED", "COMPLETED"]
    assert documents[1].error is not None
    assert documents[1].error["code"] == "cancelled"


def test_the_messages_of_the_company_are_not_worked_on_any_more() -> None:
    documents = long_queue(*[TEXT] * 9)
    for document in documents:
        with broker.held(message_id=document.message_id) as held:
            process_ingestion.send(str(document.id))
        broker.enqueue_all(held)
    try:
        process_ingestion(str(documents[0].id))

        left = broker.client.hkeys("sluice:default.msgs")
        # Its own is acknowledged by the consumer that fetched it.
        is_left = [document.message_id.encode() in left for document in documents]
        assert is_left == [True, False, False, *[True] * 6]
    finally:
        broker.flush("default")


def test_a_document_goes_on_though_no_company_can_be_claimed() -> None:
    documents = long_queue(TEXT, TEXT)
    with patch("app.models.backlog.claim_company", side_effect=OSError("the database restarts")):
        process_ingestion(str(documents[0].id))

    assert [reloaded(document).status for document in documents] == ["COMPLETED", "PENDING"]
