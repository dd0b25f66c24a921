"""Opens what a process works with, and closes it again: the one place where settings meet the parts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from app.chunking.chunker import Chunker
from app.core.config import Settings
from app.core.database import connect, database
from app.core.progress_channel import ProgressChannel
from app.embedding.protocol import Embedder
from app.parsing.sandbox import ParserPool
from app.search.reranker import Reranker
from app.services.batch_service import BatchService
from app.services.company import Company
from app.services.content_service import ContentService
from app.services.embedders import Embedders, opened
from app.services.event_hub import EventHub
from app.services.intake_service import IntakeService
from app.services.key_service import KeyService
from app.services.leases import Leases
from app.services.load import Load
from app.services.progress import ProgressTeller
from app.services.progress_feed import ProgressFeed
from app.services.search_service import SearchService
from app.services.stats_service import StatsService
from app.services.together import Together
from app.services.webhook_sender import WebhookSender
from app.services.webhook_service import Body, WebhookService
from app.storage.content_store import ContentStore
from app.storage.objects import S3Access
from app.storage.opening import open_store

#: A document that is being stored may be locked for minutes: whoever wants to change it is told to come
#: again, before such requests have all connections of the process, and nobody else gets one.
API_LOCK_TIMEOUT_S = 5


@dataclass(frozen=True, slots=True)
class APIResources:
    """What the API needs."""

    settings: Settings
    store: ContentStore
    intake: IntakeService
    batches: BatchService
    embedders: Embedders
    search: SearchService
    contents: ContentService
    stats: StatsService
    events: EventHub
    keys: KeyService


@dataclass(frozen=True, slots=True)
class WorkerResources:
    """What a worker process needs."""

    settings: Settings
    store: ContentStore
    parser: ParserPool
    chunker_for: Callable[[Embedder], Chunker]
    embedders: Embedders
    leases: Leases
    together: Together
    company: Company
    load: Load
    progress: ProgressTeller
    webhooks: WebhookService


@asynccontextmanager
async def open_api(settings: Settings) -> AsyncIterator[APIResources]:
    """Everything the API needs, for as long as the block lasts.

    Raises:
        StartupError: Something is missing or wrong; the sentence says what to do.
    """
    async with (
        database(settings, lock_timeout_s=API_LOCK_TIMEOUT_S),
        opened(settings) as embedders,
        _reranker(settings) as reranker,
        _hub(settings) as events,
        StatsService() as stats,
        KeyService() as keys,
    ):
        store = await _store(settings)
        intake = IntakeService(store=store, inline_content_bytes=settings.INLINE_CONTENT_BYTES)
        yield APIResources(
            settings=settings,
            store=store,
            intake=intake,
            batches=BatchService(intake=intake, max_items=settings.MAX_BATCH_ITEMS),
            embedders=embedders,
            search=SearchService(embedders=embedders, reranker=reranker),
            contents=ContentService(store=store),
            stats=stats,
            events=events,
            keys=keys,
        )


@asynccontextmanager
async def open_worker(settings: Settings, *, webhook_body: Body) -> AsyncIterator[WorkerResources]:
    """Everything a worker process needs, for as long as the block lasts.

    Args:
        settings: Of this installation.
        webhook_body: What makes the message of a delivery.

    Raises:
        StartupError: Something is missing or wrong; the sentence says what to do.
    """
    parser = ParserPool(
        processes=settings.PARSER_PROCESSES,
        timeout_s=settings.PARSE_TIMEOUT_S,
        memory_mb=settings.PARSE_MEMORY_MB,
        max_text_chars=settings.MAX_TEXT_CHARS,
    )
    leases = Leases(lambda: connect(settings), lease_s=settings.LEASE_S, beat_s=settings.BEAT_S)
    channel = ProgressChannel(settings.REDIS_URL)
    sender = WebhookSender(to_private=settings.WEBHOOKS_TO_PRIVATE_ADDRESSES)
    async with (
        database(settings),
        opened(settings) as embedders,
        parser,
        leases,
        channel,
        sender,
        WebhookService(sender, webhook_body) as webhooks,
    ):
        load = Load(leases.documents, readers=settings.PARSER_PROCESSES)
        yield WorkerResources(
            settings=settings,
            store=await _store(settings),
            parser=parser,
            chunker_for=partial(_chunker, settings),
            embedders=embedders,
            leases=leases,
            together=Together(),
            company=Company(leases.documents, is_model_slow=load.is_model_slow),
            load=load,
            progress=ProgressTeller(channel, leases),
            webhooks=webhooks,
        )


async def _store(settings: Settings) -> ContentStore:
    access = S3Access(
        endpoint_url=settings.AWS_ENDPOINT_URL,
        region=settings.AWS_REGION,
        access_key_id=settings.AWS_ACCESS_KEY_ID,
        secret_access_key=settings.AWS_SECRET_ACCESS_KEY,
        session_token=settings.AWS_SESSION_TOKEN,
        timeout_s=settings.STORAGE_TIMEOUT_S,
    )
    return await open_store(settings.STORAGE_URL, access)


def _chunker(settings: Settings, embedder: Embedder) -> Chunker:
    return Chunker(
        embedder.token_offsets,
        chunk_tokens=settings.CHUNK_TOKENS,
        overlap_tokens=settings.CHUNK_OVERLAP_TOKENS,
        max_tokens=embedder.max_tokens,
        max_chunks=settings.MAX_CHUNKS,
    )


@asynccontextmanager
async def _hub(settings: Settings) -> AsyncIterator[EventHub]:
    async with ProgressChannel(settings.REDIS_URL) as channel:
        hub = EventHub(lambda: connect(settings), ProgressFeed(channel))
        try:
            yield hub
        finally:
            await hub.close()


@asynccontextmanager
async def _reranker(settings: Settings) -> AsyncIterator[Reranker | None]:
    if settings.RERANKER_URL is None:
        yield None
        return
    async with Reranker(
        url=settings.RERANKER_URL,
        model=settings.RERANKER_MODEL,
        api_key=settings.RERANKER_API_KEY,
        timeout_s=settings.RERANKER_TIMEOUT_S,
    ) as reranker:
        yield reranker
