"""Embeds collections anew whose model was changed. Any number of worker processes share the work."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from uuid import UUID

import asyncpg
import numpy as np
import structlog

from app.core.database import BROKEN
from app.embedding.protocol import Embedder, TextKind
from app.errors import ServiceError
from app.models import reembedding
from app.models.collection import Collection
from app.models.reembedding import START, Text
from app.models.told_error import told
from app.services.embedders import Embedders

log = structlog.get_logger(__name__)

#: Documents that are taken in hand together, and chunks that are embedded together.
DOCUMENTS_AT_ONCE = 32
CHUNKS_AT_ONCE = 128

#: Whoever takes longer than this for so many chunks shares its documents with others.
LEASE_S = 60

#: After a failure. A service that is away or set up wrongly is asked again for as long as it takes.
PAUSE_S = 10
LONGEST_PAUSE_S = 300

#: Old vectors stay for searches that began before the swap.
STALE_AFTER_S = 60
CLEANED_AT_ONCE = 200


class Reembedding:
    """The job: new vectors for each document of a collection, the swap, and the removal of the old ones.

    All that it has done is in the database, so it may be killed at any point, and goes on from there.
    """

    def __init__(self, embedders: Embedders, *, every_s: float) -> None:
        self._embedders = embedders
        self._every_s = every_s
        self._failures: Counter[int] = Counter()  # In a row, by collection.

    async def run(self) -> None:
        """Look for work, until cancelled."""
        while True:
            try:
                pause_s = await self.work()
                await clean()
            except BROKEN as error:
                log.warning("database_unreachable", error=str(error) or type(error).__name__)
                pause_s = 0
            except Exception:
                log.exception("reembedding_failed")
                pause_s = PAUSE_S
            await asyncio.sleep(max(pause_s, self._every_s * random.uniform(0.5, 1.5)))  # noqa: S311

    async def work(self) -> float:
        """Bring all as far as they can be brought now; how many seconds to wait before the next time."""
        pause_s = 0.0
        for collection in await reembedding.collections_to_embed():
            try:
                await self._embed(collection)
                self._failures.pop(collection.id, None)
            except ServiceError as error:
                log.warning(
                    "reembedding_stopped", collection_id=collection.id, code=error.code, error=str(error)
                )
                await reembedding.note(collection, told(error, stage=None))
                pause_s = max(pause_s, min(PAUSE_S * 2 ** self._failures[collection.id], LONGEST_PAUSE_S))
                self._failures[collection.id] += 1
        return pause_s

    async def _embed(self, collection: Collection) -> None:
        """All documents that nobody else has in hand; the swap, if those were the last."""
        assert collection.next_space_id is not None
        embedder = (await self._embedders.of_space(collection.next_space_id)).embedder
        mark = START
        while marks := await reembedding.claim(collection, mark, limit=DOCUMENTS_AT_ONCE, lease_s=LEASE_S):
            if not await self._embed_documents(collection, [each.document_id for each in marks], embedder):
                return  # It is to have yet another model, or the one before.
            mark = marks[-1]
            if collection.reembedding_error is not None:
                await reembedding.note(collection, None)
                collection.reembedding_error = None
        try:
            if await reembedding.swap(collection):
                log.info("collection_reembedded", collection_id=collection.id, model=embedder.model)
        except asyncpg.LockNotAvailableError:
            log.debug("reembedding_waits_for_who_stores", collection_id=collection.id)

    async def _embed_documents(
        self, collection: Collection, document_ids: Sequence[UUID], embedder: Embedder
    ) -> bool:
        assert collection.next_space_id is not None
        cut: Counter[UUID] = Counter()
        last: Text | None = None
        is_wanted = True
        try:
            while is_wanted and (
                texts := await reembedding.texts_to_embed(
                    document_ids, collection.next_space_id, last, limit=CHUNKS_AT_ONCE
                )
            ):
                vectors = await embedder.embed([text.text for text in texts], TextKind.DOCUMENT)
                is_wanted = await reembedding.keep(
                    collection, texts, vectors.astype(np.float16), lease_s=LEASE_S
                )
                cut.update(await asyncio.to_thread(_too_long, texts, embedder))
                last = texts[-1]
        except ServiceError:
            await reembedding.finish(collection, document_ids, {})
            raise
        # Whoever is stopped before this leaves its lease to run out.
        await reembedding.finish(
            collection,
            document_ids,
            {document_id: _warning(chunks, embedder) for document_id, chunks in cut.items()},
        )
        return is_wanted


async def clean() -> None:
    """Remove the vectors that collections have of models that they have left."""
    for collection in await reembedding.collections_to_clean(older_than_s=STALE_AFTER_S):
        mark = START
        while done := await reembedding.remove_stale_vectors(collection, mark, limit=CLEANED_AT_ONCE):
            mark = done


def _too_long(texts: Sequence[Text], embedder: Embedder) -> list[UUID]:
    """The documents of those texts that the model does not read to their end."""
    return [
        text.document_id for text in texts if len(embedder.token_offsets(text.text)) > embedder.max_tokens
    ]


def _warning(chunks: int, embedder: Embedder) -> str:
    return (
        f"{chunks} {'chunk is' if chunks == 1 else 'chunks are'} longer than the {embedder.max_tokens} tokens"
        f" that {embedder.model} reads: what comes after them is found by words only. Send the document again"
        " to have it chunked for this model."
    )
