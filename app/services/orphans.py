"""Removes the contents that no document names: an accept that was cut off before its row left them behind, or
a delete that was cut off after it."""

from __future__ import annotations

import asyncio
import random
from contextlib import ExitStack
from itertools import islice

import structlog
from tortoise import connections

from app.models import uploads
from app.models.document import Document
from app.models.sql import fetch
from app.storage.content_store import FOLDERS, ContentStore
from app.storage.files import PARTIAL, FileStore
from app.storage.objects import ObjectStore

log = structlog.get_logger(__name__)

#: An accept takes seconds between its content and its row.
OLD_S = 3600.0

#: How long an upload into an object store may take until it is given up.
UPLOAD_S = 24 * 3600.0

#: Files looked at together, and locked at once at the most.
BATCH = 200

#: Of the 256 folders of an object store, so many are listed each time: all of them within a few days.
FOLDERS_AT_ONCE = 8


async def adopt(store: ContentStore) -> None:
    """Note in the storage that its contents are this database's, if that is beyond doubt."""
    if await store.owner() is None and await _is_ours(store):
        await store.mark(await _installation())


async def _is_ours(store: ContentStore) -> bool:
    if await store.is_empty():
        return True
    names = await store.some_names(BATCH)
    return len(await _unnamed(names)) < len(names)


async def _installation() -> str:
    rows = await fetch("SELECT id FROM installations")
    return str(rows[0]["id"]) if rows else ""


async def remove_orphans(store: ContentStore, *, older_than_s: float | None = None) -> int:
    """Remove contents that no row names, nor will ever name; the number of them.

    In a storage of another database, none is: after a change of the model, for one, which takes an empty
    database, or while a backup is being restored.

    As many processes as want to may call this at once.
    """
    if await store.owner() != await _installation():
        log.warning("storage_of_another_database")
        return 0
    if isinstance(store, ObjectStore):
        removed = await _remove_objects(store, UPLOAD_S if older_than_s is None else older_than_s)
    else:
        assert isinstance(store, FileStore)
        removed = await _remove_files(store, OLD_S if older_than_s is None else older_than_s)
    if removed:
        log.warning("orphans_removed", files=removed)
    return removed


# --- Files --------------------------------------------------------------------------------------------------


async def _remove_files(store: FileStore, older_than_s: float) -> int:
    """A row that names a file is written by the process that wrote the file, once, soon after.

    So a file is left behind when three things hold, looked at in this order: no process holds it
    (`FileStore.held`), no transaction runs that could still bring its row (one that waits for a lock, or for
    a synchronous standby, outlives its client), and no row is there. Its age only spares us looking at those
    of this hour. The files are looked through in a thread, in batches.
    """
    removed = 0
    names = store.old_files(older_than_s=older_than_s)
    while batch := await asyncio.to_thread(lambda: list(islice(names, BATCH))):
        if unnamed := await _unnamed(batch):
            removed += await _remove_unheld(store, unnamed, older_than_s)
    return removed


async def _remove_unheld(store: FileStore, names: list[str], older_than_s: float) -> int:
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


# --- Objects ------------------------------------------------------------------------------------------------


async def _remove_objects(store: ObjectStore, older_than_s: float) -> int:
    """Each key is noted in `uploads` before its object is there, until a document names it in its stead.

    No document can name an upload any more that was given up, however long its process stood still. What else
    is in neither table is of an upload that was given up before all of it was there, or of a document that
    was deleted: it is found where it lies, in a part of the store each time. Its age, again, spares looking.
    """
    removed = 0
    while keys := await uploads.forget(older_than_s=older_than_s, limit=BATCH):
        removed += await store.remove(keys)
    for folder in random.sample(FOLDERS, FOLDERS_AT_ONCE):
        async for keys in store.old_keys(folder, older_than_s=older_than_s):
            removed += await store.remove(await uploads.unnamed(keys))
    return removed
