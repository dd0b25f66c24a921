"""From stored bytes to chunks with vectors: what a worker does with a document."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np

from app.chunking.chunker import Chunker
from app.chunking.passage import Passage
from app.embedding.protocol import Embedder, TextKind
from app.models.chunk import NewChunk
from app.models.document import Document, Ingested, Stage
from app.models.document_content import DocumentContent
from app.parsing.sandbox import ParserPool
from app.storage.content_store import ContentStore

#: How many passages are handed to the embedder between two notes of progress.
EMBED_AT_ONCE = 128


class IngestionService:
    """Reads, parses, chunks and embeds a document. Writes nothing: its caller holds the lease and commits."""

    def __init__(
        self, *, store: ContentStore, parser: ParserPool, chunker: Chunker, embedder: Embedder
    ) -> None:
        self.store = store
        self.parser = parser
        self.chunker = chunker
        self.embedder = embedder

    async def ingest_document(self, document: Document) -> Ingested:
        """Turn an accepted document into chunks. Safe to run twice.

        Args:
            document: Claimed by the caller; its `stage` and progress are kept up to date in memory.

        Raises:
            PermanentError: This content will never be searchable.
            TransientError: Trying again may work.
        """
        document.enter(Stage.PARSING)
        async with self._content_of(document) as path:
            parsed = await self.parser.parse(path, document.source_name)
        document.enter(Stage.CHUNKING)
        passages = await asyncio.to_thread(self.chunker.split, parsed)
        document.enter(Stage.EMBEDDING, unit="chunks", total=len(passages))
        chunks = await self._embed(document, passages)
        document.enter(Stage.STORING)
        return Ingested(
            media_type=parsed.media_type, title=parsed.title, warnings=parsed.warnings, chunks=chunks
        )

    @asynccontextmanager
    async def _content_of(self, document: Document) -> AsyncIterator[Path]:
        if document.content_key is not None:
            yield self.store.path(document.content_key)
            return
        kept = await DocumentContent.get(document_id=document.id)
        with tempfile.NamedTemporaryFile(prefix="sluice-") as file:
            file.write(kept.content)
            file.flush()
            yield Path(file.name)

    async def _embed(self, document: Document, passages: list[Passage]) -> list[NewChunk]:
        chunks: list[NewChunk] = []
        for first in range(0, len(passages), EMBED_AT_ONCE):
            some = passages[first : first + EMBED_AT_ONCE]
            vectors = await self.embedder.embed([passage.text for passage in some], TextKind.DOCUMENT)
            # Half precision is what the column holds; as float32 a large document's vectors fill the memory.
            halves = vectors.astype(np.float16)
            chunks.extend(_chunk(passage, vector) for passage, vector in zip(some, halves, strict=True))
            document.progress_done = len(chunks)
        return chunks


def _chunk(passage: Passage, vector: np.ndarray) -> NewChunk:
    return NewChunk(
        text=passage.text,
        char_start=passage.char_start,
        char_end=passage.char_end,
        page=passage.page,
        headings=passage.headings,
        token_count=passage.token_count,
        embedding=vector,
    )
