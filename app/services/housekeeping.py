"""Drops what nobody needs any more. Any number of processes may do it at once: each row goes once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine

import asyncpg
import structlog

from app.core.database import BROKEN
from app.errors import BatchInterrupted, StorageUnavailable
from app.models import chunk_words, event_log, webhook_delivery, workers
from app.models.batch import Batch
from app.models.collection import Collection
from app.models.embedded_text import EmbeddedText
from app.models.idempotency_key import IdempotencyKey
from app.models.word_counts import keep_counts
from app.services.batch_service import told_plainly
from app.services.indexing import index_fresh
from app.services.orphans import adopt, remove_orphans
from app.storage.content_store import ContentStore

log = structlog.get_logger(__name__)

DAY_S = 24 * 3600
WEEK_S = 7 * DAY_S
EVERY_S = 600
BATCH = 1000
#: Documents of a collection that is being deleted, and chunks of theirs, that go in one statement.
REMOVED_AT_ONCE = 100
REMOVED_CHUNKS = 20_000

#: Batches that go in one statement, each with ten thousand items or so.
BATCHES = 10

#: Words are counted no less often: the sooner the length of a new collection's chunks is known, the fewer of
#: them are weighed by another one, and anew.
COUNTED_EVERY_S = 1

#: So many times longer a chore rests where nothing is stored that could make it necessary.
IDLE_TIMES = 6

#: A batch that gets no item for so long is read by nobody any more.
ABANDONED_S = 3600


async def keep_house(store: ContentStore, *, events_kept_h: float) -> None:
    """Clean up every ten minutes or so, until cancelled."""
    # Before anything is stored, if this is the first start: an empty storage is beyond doubt ours.
    await _try(adopt(store))
    while True:
        # Not at once, and not all workers together: there are better things to do after a start.
        await asyncio.sleep(EVERY_S * random.uniform(0.5, 1.5))  # noqa: S311
        await clean(store)
        await _try(forget_events(events_kept_h))


async def keep_indexed(
    connect: Callable[[], Awaitable[asyncpg.Connection]],
    *,
    memory_mb: int,
    every_s: float,
    stored: Callable[[], int],
) -> None:
    """Make indexes of vectors that have none, until cancelled; see `_keep`."""
    await _keep(
        lambda: index_fresh(connect, memory_mb=memory_mb),
        every_s=every_s,
        rest_s=IDLE_TIMES * every_s,
        stored=stored,
    )


async def keep_counted(*, every_s: float, stored: Callable[[], int]) -> None:
    """Count the words of collections, until cancelled; see `_keep`."""
    await _keep(
        keep_counts, every_s=min(every_s, COUNTED_EVERY_S), rest_s=IDLE_TIMES * every_s, stored=stored
    )


async def read_words_anew(every_s: float) -> None:
    """Read the words that an earlier version has stored by the rules of this one, until all are."""
    while not await _try(_read_outdated()):  # noqa: ASYNC110 - Until the database is there again.
        await asyncio.sleep(every_s)


async def _read_outdated() -> None:
    chunks = after = 0
    # From the last one on: what was read leaves traces in the index until they are vacuumed away.
    while (ids := await chunk_words.read_outdated(after=after)) or after:
        chunks += len(ids)
        after = ids[-1] if ids else 0  # Once more, for those that others had in hand and left.
    if chunks:
        log.info("words_read_anew", chunks=chunks)


async def keep_collections(store: ContentStore, every_s: float) -> None:
    """Remove those that are being deleted, until cancelled."""
    while True:
        await _try(remove_deleted(store))
        await asyncio.sleep(every_s * random.uniform(0.5, 1.5))  # noqa: S311 - Not all workers together.


async def _keep(
    work: Callable[[], Coroutine[None, None, None]],
    *,
    every_s: float,
    rest_s: float,
    stored: Callable[[], int],
) -> None:
    """Do it so often, and after a rest while this process stores nothing: others look after their own.

    What they leave undone, as they were stopped or had the work of a client in hand, is found in the end.
    """
    while True:
        seen = stored()
        await _try(work())
        rested_s = 0.0
        while rested_s < rest_s:
            pause_s = every_s * random.uniform(0.5, 1.5)  # noqa: S311 - Not all workers together.
            await asyncio.sleep(pause_s)
            rested_s += pause_s
            if stored() != seen:
                break


async def remove_deleted(store: ContentStore) -> None:
    """Everything that is in collections on their way out."""
    for collection in await Collection.deleting():
        removed = True
        while removed:
            removed, keys = await collection.remove_documents(REMOVED_AT_ONCE, chunks=REMOVED_CHUNKS)
            await store.delete(*keys)


async def _try(work: Coroutine[None, None, object]) -> bool:
    """Whether it went well: what fails is told, and done again next time."""
    try:
        await work
    except BROKEN as error:
        log.warning("database_unreachable", error=str(error) or type(error).__name__)
    except StorageUnavailable as error:
        log.warning("storage_unreachable", error=error.reason)
    except Exception:
        log.exception("cleaning_failed")
    else:
        return True
    return False


async def clean(store: ContentStore) -> None:
    """Everything that is old enough, batch by batch; what fails of it keeps the rest from nothing."""
    await _try(adopt(store))
    await _try(_forget_what_is_old())
    await _try(remove_orphans(store))


async def _forget_what_is_old() -> None:
    while await IdempotencyKey.remove_old(older_than_s=DAY_S, limit=BATCH) == BATCH:
        pass
    while await EmbeddedText.remove_stale(older_than_s=DAY_S, limit=BATCH) == BATCH:
        pass
    await Batch.close_abandoned(silent_s=ABANDONED_S, error=told_plainly(BatchInterrupted()))
    while await Batch.remove_old(older_than_s=WEEK_S, limit=BATCHES) == BATCHES:
        pass
    while await webhook_delivery.forget(older_than_s=WEEK_S, limit=BATCH) >= BATCH:
        pass
    await workers.forget_dead()


async def forget_events(kept_h: float) -> None:
    """Those that are kept for long enough, and those of a database that this one was restored from."""
    while await event_log.forget(older_than_s=kept_h * 3600, limit=BATCH) == BATCH:
        pass
    await event_log.forget_another_life()
