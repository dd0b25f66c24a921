"""Answers questions with passages."""

from __future__ import annotations

from collections.abc import Sequence

from app.embedding.protocol import Embedder, TextKind
from app.search.vector import Hit, nearest_chunks


class SearchService:
    """Embeds the question and finds the chunks nearest to it."""

    def __init__(self, *, embedder: Embedder) -> None:
        self.embedder = embedder

    async def search(self, query: str, *, top_k: int, collections: Sequence[str] | None) -> list[Hit]:
        """The `top_k` best passages, best first; from all collections when none are named.

        Raises:
            EmbedderUnavailable: The question cannot be embedded just now.
        """
        vectors = await self.embedder.embed([query], TextKind.QUERY)
        return await nearest_chunks(vectors[0], top_k=top_k, collections=collections)
