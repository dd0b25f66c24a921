"""Documents in the index without a worker: chunked and embedded here, stored as a worker stores them."""

from __future__ import annotations

import hashlib
from typing import Any
from uuid import UUID

from app.chunking.chunker import Chunker
from app.embedding.hash import HashEmbedder
from app.models import acceptance
from app.models.acceptance import NewDocument
from app.models.document import Document, Ingested
from app.parsing.parsed_document import Heading, Page, ParsedDocument, Table
from app.services.ingestion_service import ChunksOf

EMBEDDER = HashEmbedder()


async def indexed(
    text: str,
    *,
    chunk_tokens: int = 64,
    overlap_tokens: int = 0,
    headings: tuple[Heading, ...] = (),
    pages: tuple[Page, ...] = (),
    tables: tuple[Table, ...] = (),
    **fields: Any,
) -> UUID:
    """Take the text in and make it searchable; `fields` are those of `NewDocument`."""
    content = text.encode()
    new = NewDocument(
        **{
            "sha256": hashlib.sha256(content).hexdigest(),
            "size_bytes": len(content),
            "media_type": "text/plain",
            "content": content,
            **fields,
        }
    )
    accepted = await acceptance.accept(new)
    document = await Document.claim(accepted.document_id, owner="a", lease_s=300)
    assert document is not None
    await complete(
        document,
        text,
        chunk_tokens=chunk_tokens,
        overlap_tokens=overlap_tokens,
        headings=headings,
        pages=pages,
        tables=tables,
    )
    return document.id


async def complete(
    document: Document,
    text: str,
    *,
    chunk_tokens: int = 64,
    overlap_tokens: int = 0,
    headings: tuple[Heading, ...] = (),
    pages: tuple[Page, ...] = (),
    tables: tuple[Table, ...] = (),
) -> None:
    """Finish what was claimed."""
    chunker = Chunker(
        EMBEDDER.token_offsets,
        chunk_tokens=chunk_tokens,
        overlap_tokens=overlap_tokens,
        max_tokens=EMBEDDER.max_tokens,
    )
    passages = chunker.split(
        ParsedDocument(media_type="text/plain", text=text, headings=headings, pages=pages, tables=tables)
    )
    vectors = await EMBEDDER.embed([passage.text for passage in passages])
    chunks = ChunksOf(passages, vectors, text)
    ingested = Ingested(space_id=1, media_type=document.media_type, title=None, warnings=[], chunks=chunks)
    assert await document.complete(ingested)
