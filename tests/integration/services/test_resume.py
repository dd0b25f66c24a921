"""What was embedded before a failure, or for an earlier version, is not embedded again."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from unittest.mock import patch
from uuid import UUID

import numpy as np
import pytest
from numpy.typing import NDArray

from app.chunking.chunker import Chunker
from app.core.config import Settings
from app.core.database import database
from app.embedding.hash import HashEmbedder
from app.embedding.protocol import TextKind
from app.errors import ContentMissing, EmbedderUnavailable
from app.models import acceptance
from app.models.acceptance import NewDocument
from app.models.chunk import Chunk
from app.models.document import Document
from app.models.embedded_text import EmbeddedText
from app.models.reach import EVERYTHING
from app.parsing.sandbox import ParserPool
from app.services import ingestion_service
from app.services.ingestion_service import IngestionService
from app.services.load import Load
from app.services.together import Together
from app.storage.files import FileStore
from tests.support import emptied_database, only, saved, vectors_of

AT_ONCE = 4
BATCHES = 10
PARAGRAPHS = [
    f"Paragraph {n} speaks of gate {n}, and of nothing else at all." for n in range(AT_ONCE * BATCHES)
]


class FailingEmbedder(HashEmbedder):
    """Refuses the call of that number, once; counts the texts that it embedded."""

    def __init__(self, fails_at: int = 0) -> None:
        super().__init__()
        self.calls = 0
        self.fails_at = fails_at
        self.texts: list[str] = []

    async def embed(self, texts: Sequence[str], kind: TextKind = TextKind.DOCUMENT) -> NDArray[np.float32]:
        self.calls += 1
        if self.calls == self.fails_at:
            raise EmbedderUnavailable("429")
        self.texts += texts
        return await super().embed(texts, kind)


@pytest.fixture(autouse=True)
async def opened(settings: Settings, migrated: None, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    monkeypatch.setattr(ingestion_service, "EMBED_AT_ONCE", AT_ONCE)
    async with database(settings):
        await emptied_database()
        yield


@pytest.fixture
async def parser() -> AsyncIterator[ParserPool]:
    async with ParserPool(processes=1) as pool:
        yield pool


@pytest.fixture
def embedder() -> FailingEmbedder:
    return FailingEmbedder()


@pytest.fixture
def service(settings: Settings, parser: ParserPool, embedder: FailingEmbedder) -> IngestionService:
    chunker = Chunker(
        embedder.token_offsets, chunk_tokens=16, overlap_tokens=0, max_tokens=embedder.max_tokens
    )
    return IngestionService(
        store=FileStore(settings.STORAGE_URL),
        parser=parser,
        chunker_for=lambda _: chunker,
        embedders=only(embedder),
        together=Together(),
        load=Load(list, readers=1),
    )


async def accepted(paragraphs: Sequence[str]) -> UUID:
    content = "\n\n".join(paragraphs).encode()
    new = NewDocument(
        sha256=f"{hash(content) % 10**9:064d}",
        size_bytes=len(content),
        media_type="text/plain",
        content=content,
        external_id="it",
    )
    return (await acceptance.accept(new)).document_id


async def claimed(document_id: UUID) -> Document:
    document = await Document.claim(document_id, owner="a", lease_s=30)
    assert document is not None
    return document


async def ingest(service: IngestionService, document_id: UUID) -> None:
    document = await claimed(document_id)
    assert await document.complete(await service.ingest_document(document))


async def test_a_refusal_late_in_a_document_costs_one_batch(
    service: IngestionService, embedder: FailingEmbedder
) -> None:
    embedder.fails_at = BATCHES - 1
    document_id = await accepted(PARAGRAPHS)
    document = await claimed(document_id)
    with pytest.raises(EmbedderUnavailable):
        await service.ingest_document(document)
    await document.hand_back()
    assert len(embedder.texts) == (BATCHES - 2) * AT_ONCE

    await ingest(service, document_id)

    # Each text once, although the document was begun twice.
    assert sorted(embedder.texts) == sorted(PARAGRAPHS)
    chunks = await Chunk.all().order_by("ordinal")
    assert [chunk.text for chunk in chunks] == PARAGRAPHS
    expected = await HashEmbedder().embed(PARAGRAPHS)
    assert await vectors_of(document_id) == pytest.approx(expected, abs=1e-3)
    assert not await EmbeddedText.exists()  # They are chunks now.


async def test_an_update_embeds_what_changed(service: IngestionService, embedder: FailingEmbedder) -> None:
    document_id = await accepted(PARAGRAPHS)
    await ingest(service, document_id)
    embedder.texts.clear()
    changed = [*PARAGRAPHS]
    changed[7] = "Paragraph 7 has something else to say today, for a change."

    assert await accepted(changed) == document_id
    await ingest(service, document_id)

    assert embedder.texts == [changed[7]]
    assert [chunk.text for chunk in await Chunk.all().order_by("ordinal")] == changed


async def test_a_document_that_is_deleted_meanwhile_keeps_nothing(service: IngestionService) -> None:
    document = await claimed(await accepted(PARAGRAPHS))
    await Document.remove(document.id, EVERYTHING)

    await EmbeddedText.keep(document.id, {b"k": np.full(64, 0.125, np.float16)})

    assert not await EmbeddedText.exists()


async def test_what_was_kept_for_a_document_that_was_given_up_is_dropped_in_time(
    service: IngestionService,
) -> None:
    document = await claimed(await accepted(PARAGRAPHS))
    await EmbeddedText.keep(document.id, {b"k": np.full(64, 0.125, np.float16)})
    assert await EmbeddedText.remove_stale(older_than_s=0, limit=10) == 0

    await Document.cancel(document.id)

    assert await EmbeddedText.remove_stale(older_than_s=3600, limit=10) == 0
    assert await EmbeddedText.remove_stale(older_than_s=0, limit=10) == 1


async def test_a_content_that_a_full_disk_cut_off_is_no_document(service: IngestionService) -> None:
    # Not plain text, which needs no file.
    document = await claimed(await accepted([f"<p>{paragraph}</p>" for paragraph in PARAGRAPHS]))

    with (
        patch("tempfile.TemporaryFile", lambda: Path("/dev/full").open("wb+")),
        pytest.raises(OSError, match="No space left"),
    ):
        await service.ingest_document(document)


async def test_a_stored_file_that_is_not_whole_is_no_document(service: IngestionService) -> None:
    stored = await saved(service.store, b"The upper gate opens at six in the morning.")
    new = NewDocument(
        sha256=stored.sha256,
        size_bytes=stored.size_bytes,
        media_type="text/plain",
        content_key=stored.key,
    )
    document = await claimed((await acceptance.accept(new)).document_id)
    assert isinstance(service.store, FileStore)
    os.truncate(service.store.root / stored.key, 20)

    with pytest.raises(ContentMissing, match="not whole"):
        await service.ingest_document(document)
