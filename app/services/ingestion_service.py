"""From stored bytes to chunks with vectors: what a worker does with a document."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import numpy as np
import structlog
from numpy.typing import NDArray

from app.chunking.chunker import Chunker
from app.chunking.joining import gaps_between
from app.chunking.passage import Passage
from app.core.database import BROKEN
from app.embedding.protocol import Embedder, TextKind
from app.errors import ContentMissing, PermanentError
from app.models.chunk import CHUNKS_PER_COPY, Chunk, NewChunk
from app.models.collection import Collection
from app.models.completion import Done
from app.models.document import Document, Ingested, Stage
from app.models.document_content import DocumentContent
from app.models.embedded_text import EmbeddedText, key_of
from app.parsing.parsed_document import ParsedDocument
from app.parsing.sandbox import ParserPool
from app.services.embedders import Embedders, Model
from app.services.load import Load
from app.services.together import Together
from app.storage.content_store import ContentStore

log = structlog.get_logger(__name__)

#: So many characters are split in a few milliseconds; a thread, which shares the interpreter, takes no fewer.
SMALL_CHARS = 16384

#: How many passages are handed to the embedder between two notes of progress; what a failure costs, at most.
EMBED_AT_ONCE = 128


class IngestionService:
    """Reads, parses, chunks and embeds a document. Its caller holds the lease and commits what comes out.

    All that it writes itself are vectors by the text that they stand for: whoever writes them, it is right.
    """

    def __init__(
        self,
        *,
        store: ContentStore,
        parser: ParserPool,
        chunker_for: Callable[[Embedder], Chunker],
        embedders: Embedders,
        together: Together,
        load: Load,
    ) -> None:
        self.store = store
        self.parser = parser
        self.chunker_for = chunker_for
        self.embedders = embedders
        self.together = together
        self.load = load

    async def ingest_document(self, document: Document) -> Ingested:
        """Turn an accepted document into chunks. Safe to run twice.

        Args:
            document: Claimed by the caller; its `stage` and progress are kept up to date in memory.

        Raises:
            PermanentError: This content will never be searchable.
            TransientError: Trying again may work.
        """
        document.enter(Stage.PARSING)
        parsed = await self._parsed(document)
        document.enter(Stage.CHUNKING)
        collection = await self.together.collection(document.collection)
        model = await self.embedders.of(collection)
        chunker = self._chunker(model, collection)
        is_small = len(parsed.text) <= SMALL_CHARS
        passages = chunker.split(parsed) if is_small else await asyncio.to_thread(chunker.split, parsed)
        document.enter(Stage.EMBEDDING, unit="chunks", total=len(passages))
        with self.load.before(model.embedder, document):
            vectors = await self._embed(document, passages, model)
        if len(passages) > CHUNKS_PER_COPY:
            document.enter(Stage.STORING, unit="chunks", total=len(passages))
        else:
            document.enter(Stage.STORING)
        return _ingested(parsed, passages, vectors, model)

    async def ingest_together(self, documents: Sequence[Document]) -> list[Done]:
        """Turn those of several accepted documents into chunks, in one go, that are small plain text.

        What is anything else, or fails, is left out: `ingest_document` finds out what becomes of that.
        Whatever would fail for all is raised. Safe to run twice.

        Args:
            documents: Claimed by the caller, their contents in the database. All are split at once: a few.
        """
        for document in documents:
            document.enter(Stage.PARSING)
        contents = await DocumentContent.read([document.id for document in documents])
        texts: defaultdict[str, list[tuple[Document, ParsedDocument]]] = defaultdict(list)
        for document, content in zip(documents, contents, strict=True):
            # A later attempt, or version, looks for vectors of the ones before.
            if content is not None and document.attempt == 1:
                with suppress(PermanentError):
                    parsed = self.parser.parse_at_once(content, document.source_name)
                    if parsed is not None and len(parsed.text) <= SMALL_CHARS:
                        texts[document.collection].append((document, parsed))
        return [done for name, some in texts.items() for done in await self._ingest_alike(name, some)]

    async def _ingest_alike(
        self, collection_name: str, parsed: Sequence[tuple[Document, ParsedDocument]]
    ) -> list[Done]:
        """Those of one collection."""
        collection = await self.together.collection(collection_name)
        model = await self.embedders.of(collection)
        chunker = self._chunker(model, collection)
        split: list[tuple[Document, ParsedDocument, list[Passage]]] = []
        for document, text in parsed:
            document.enter(Stage.CHUNKING)
            with suppress(PermanentError):
                split.append((document, text, chunker.split(text)))
        if not split:
            return []
        for document, _, passages in split:
            document.enter(Stage.EMBEDDING, unit="chunks", total=len(passages))
        with self.load.before(model.embedder, *(document for document, _, _ in split)):
            vectors = await self._new([passage.text for _, _, some in split for passage in some], model)
        done: list[Done] = []
        for document, text, passages in split:
            document.enter(Stage.STORING)
            ours = [vectors[passage.text] for passage in passages]
            done.append(Done(document, _ingested(text, passages, ours, model)))
        return done

    def _chunker(self, model: Model, collection: Collection) -> Chunker:
        return self.chunker_for(model.embedder).resized(collection.chunk_tokens, collection.overlap_tokens)

    async def _parsed(self, document: Document) -> ParsedDocument:
        if document.content_key is not None:
            async with self.store.local(document.content_key) as path:
                if path.stat().st_size != document.size_bytes:
                    raise ContentMissing(document.content_key)  # Cut off, on a disk or by a copy.
                return await self.parser.parse(path, document.source_name)
        content = await self.together.content(document.id)
        if content is None:
            raise ContentMissing(str(document.id))  # It was deleted, or is another version by now.
        return await self.parser.parse_content(content, document.source_name)

    async def _embed(
        self, document: Document, passages: list[Passage], model: Model
    ) -> list[NDArray[np.float16]]:
        embedded: list[NDArray[np.float16]] = []
        for first in range(0, len(passages), EMBED_AT_ONCE):
            some = passages[first : first + EMBED_AT_ONCE]
            is_last = first + EMBED_AT_ONCE >= len(passages)
            texts = [passage.text for passage in some]
            vectors = await self._vectors(document, texts, model, is_last=is_last)
            embedded.extend(vectors[passage.text] for passage in some)
            document.progress_done = len(embedded)
        return embedded

    async def _vectors(
        self, document: Document, texts: list[str], model: Model, *, is_last: bool
    ) -> dict[str, NDArray[np.float16]]:
        """Vectors by text: those that an earlier attempt, or version, has left, and new ones for the rest."""
        vectors = await self._known(document, texts, model)
        missing = [text for text in dict.fromkeys(texts) if text not in vectors]
        if missing:
            vectors |= await self._new(missing, model)
            if not is_last:
                await self._keep(document, missing, vectors, model)
        return vectors

    async def _new(self, texts: Sequence[str], model: Model) -> dict[str, NDArray[np.float16]]:
        """Half precision is what the column holds; as float32 a large document's vectors fill the memory."""
        with self.load.embedding(model.embedder, len(texts)):
            vectors = (await model.embedder.embed(texts, TextKind.DOCUMENT)).astype(np.float16)
        return dict(zip(texts, vectors, strict=True))

    async def _known(
        self, document: Document, texts: list[str], model: Model
    ) -> dict[str, NDArray[np.float16]]:
        if document.attempt == 1:
            return {}
        keys = {key_of(model.space_id, text): text for text in texts}
        kept = await EmbeddedText.known(document.id, list(keys))
        known = {keys[key]: vector for key, vector in kept.items()}
        if document.indexed_version is not None:
            known |= await Chunk.vectors(document.id, texts, space_id=model.space_id)
        return known

    async def _keep(
        self, document: Document, texts: list[str], vectors: dict[str, NDArray[np.float16]], model: Model
    ) -> None:
        """For the next attempt, should this one fail. A database that is away costs no more than that."""
        try:
            await EmbeddedText.keep(
                document.id, {key_of(model.space_id, text): vectors[text] for text in texts}
            )
        except BROKEN as error:
            log.warning("vectors_not_kept", error=str(error) or type(error).__name__)


def _ingested(
    parsed: ParsedDocument, passages: Sequence[Passage], vectors: Sequence[NDArray[np.float16]], model: Model
) -> Ingested:
    return Ingested(
        media_type=parsed.media_type,
        title=parsed.title,
        warnings=parsed.warnings,
        chunks=ChunksOf(passages, vectors, parsed.text),
        space_id=model.space_id,
    )


class ChunksOf:
    """Passages of `text` and their vectors, as they are stored; each is made when its turn comes.

    All at once would be a second copy of the text, for as long as storing takes.
    """

    def __init__(
        self, passages: Sequence[Passage], vectors: Sequence[NDArray[np.float16]], text: str
    ) -> None:
        self._passages = passages
        self._vectors = vectors
        self._text = text

    def __len__(self) -> int:
        return len(self._passages)

    def __iter__(self) -> Iterator[NewChunk]:
        gaps = gaps_between(self._passages, self._text)
        for passage, vector, gap in zip(self._passages, self._vectors, gaps, strict=True):
            yield NewChunk(
                text=passage.text,
                char_start=passage.char_start,
                char_end=passage.char_end,
                page=passage.page,
                page_end=passage.page_end,
                headings=passage.headings,
                token_count=passage.token_count,
                embedding=vector,
                gap=gap,
            )
