"""Removes the files that an accept left behind when it was cut off between its file and its row."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from itertools import islice

import structlog
from tortoise import connections

from app.models.document import Document
from app.models.sql import fetch
from app.storage.content_store import PARTIAL, ContentStore

log = structlog.get_logger(__name__)

#: An accept takes seconds between its file and its row.
OLD_S = 3600.0

#: Files looked at together, and locked at once at the most.
BATCH = 200


async def adopt(store: ContentStore) -> None:
    """Note in the storage that its files are this database's, if that is beyond doubt."""
    if await asyncio.to_thread(lambda: store.owner) is None and await _is_ours(store):
        await asyncio.to_thread(store.mark, await _installation())


async def _is_ours(store: ContentStore) -> bool:
    if await asyncio.to_thread(lambda: store.is_empty):
        return True
    names = await asyncio.to_thread(lambda: list(islice(store.old_files(older_than_s=0), BATCH)))
    return len(await _unnamed(names)) < len(names)


async def _installation() -> str:
    rows = await fetch("SELECT id FROM installations")
    return str(rows[0]["id"]) if rows else ""


async def remove_orphans(store: ContentStore, *, older_than_s: float = OLD_S) -> int:
    """Remove files that no row names, nor will ever name; the number of them.

    A row that names a file is written by the process that wrote the file, once, soon after. So a file is left
    behind when three things hold, looked at in this order: no process holds it (`ContentStore.held`), no
    transaction runs that could still bring its row (one that waits for a lock, or for a synchronous standby,
    outlives its client), and no row is there. Its age only spares us looking at those of this hour.

    In a storage of another database, none is: after a change of the model, for one, which takes an empty
    database, or while a backup is being restored.

    As many processes as want to may call this at once. The files are looked through in a thread, in batches.
    """
    if await asyncio.to_thread(lambda: store.owner) != await _installation():
        log.warning("storage_of_another_database")
        return 0
    removed = 0
    names = store.old_files(older_than_s=older_than_s)
    while batch := await asyncio.to_thread(lambda: list(islice(names, BATCH))):
        if unnamed := await _unnamed(batch):
            removed += await _remove_unheld(store, unnamed, older_than_s)
    if removed:
        log.warning("orphans_removed", files=removed)
    return removed


async def _remove_unheld(store: ContentStore, names: list[str], older_than_s: float) -> int:
    with ExitStack() as locks:
        free = await asyncio.to_thread(locks.enter_context, store.unheld(names))
        if await _has_old_transaction(older_than_s / 2):
            return 0
        # Whoever held one of them a moment ago may have committed its row since we looked.
        return await asyncio.to_thread(store.remove, await _unnamed(free))


async def _unnamed(names: list[str]) -> list[str]:
    keys = [name for name in names if not name.endswith(PARTIAL)]
    rows = await Document.filter(content_key__in=keys).only("content_key")
    named = {row.content_key for row in rows}
    return [name for name in names if name not in named]


async def _has_old_transaction(age_s: float) -> bool:
    rows = await connections.get("default").execute_query_dict(
        """
        SELECT EXISTS (
            SELECT FROM pg_stat_activity
            WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
                AND xact_start < now() - make_interval(secs => $1)
        ) AS found
        """,
        [age_s],
    )
    return bool(rows[0]["found"])
