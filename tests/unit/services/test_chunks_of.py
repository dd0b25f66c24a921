"""What is stored of a document is made when its turn comes."""

from __future__ import annotations

import numpy as np

from app.chunking.chunker import Chunker
from app.chunking.joining import Joiner
from app.embedding.hash import HashEmbedder
from app.parsing.parsed_document import ParsedDocument
from app.services.ingestion_service import ChunksOf

TEXT = "The upper gate opens at six.\n\nThe lower gate opens when the chamber is full.  Then the boats go in."


def test_chunks_are_the_same_each_time_since_storing_may_be_tried_twice() -> None:
    chunker = Chunker(HashEmbedder().token_offsets, chunk_tokens=8, overlap_tokens=2, max_tokens=254)
    passages = chunker.split(ParsedDocument(TEXT, "text/plain"))
    vectors = list(np.eye(len(passages), dtype=np.float16))
    chunks = ChunksOf(passages, vectors, TEXT)

    first, again = list(chunks), list(chunks)

    assert len(first) == len(again) == len(chunks) == len(passages) > 2
    assert "".join(Joiner().joined(first)) == "".join(Joiner().joined(again)) == TEXT
    assert [chunk.embedding.argmax() for chunk in again] == list(range(len(chunks)))
