"""Answers questions with passages."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from app.embedding.protocol import TextKind
from app.errors import EmbedderRefused, EmbedderUnavailable, ModelUnavailable, RerankerMissing
from app.models.collection import Collection
from app.models.reach import Reach
from app.search.filters import Filter
from app.search.fusion import Fused, at_most_of_each, fuse
from app.search.hits import Hit, add_context, load
from app.search.keyword import best_chunks, by_language, terms_of
from app.search.question import Question
from app.search.reranker import Reranker
from app.search.scope import Ranked, Scope, best_first
from app.search.vector import nearest_chunks
from app.services.embedders import Embedders

#: How far down its ranking each leg is heard: what is far down in one may be high up in the other.
DEPTH = 100

#: How many hits a reranker gets to see.
RERANKED = 50

Mode = Literal["hybrid", "vector", "keyword"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is asked for. `POST /search` tells what each of these means."""

    query: str
    mode: Mode = "hybrid"
    top_k: int = 10
    collections: Sequence[str] | None = None
    filter: Filter | None = None
    min_score: float | None = None
    max_per_document: int | None = None
    context: int = 0
    ef_search: int | None = None
    is_exact: bool = False
    rerank: bool = False


class SearchService:
    """Finds by words and by meaning, and makes one ranking of both."""

    def __init__(self, *, embedders: Embedders, reranker: Reranker | None = None) -> None:
        self.embedders = embedders
        self.reranker = reranker

    async def search(self, asked: Search, reach: Reach) -> list[Hit]:
        """The best passages within reach, best first.

        Raises:
            EmbedderUnavailable, EmbedderRefused, ModelUnavailable: The question cannot be embedded.
            RerankerMissing, RerankerUnavailable: The hits cannot be put in a better order.
        """
        if asked.rerank and self.reranker is None:
            raise RerankerMissing
        scope = await Scope.of(asked.collections, asked.filter, reach)
        # In a search by meaning alone, a minus or a quotation mark is a part of what is meant.
        question = Question(asked.query) if asked.mode == "vector" else Question.parse(asked.query)
        fused = fuse(await self._legs(asked, question, scope))
        if asked.max_per_document is not None:
            fused = at_most_of_each(fused, asked.max_per_document)
        if asked.rerank:
            hits = await self._reranked(asked, await load(fused[: max(RERANKED, asked.top_k)], question.text))
        else:
            hits = await load(_good_enough(fused, asked.min_score)[: asked.top_k], question.text)
        if asked.context and hits:
            await add_context(hits, asked.context)
        return hits

    async def _legs(self, asked: Search, question: Question, scope: Scope) -> dict[str, Sequence[Ranked]]:
        depth = max(DEPTH, 2 * asked.top_k) * (1 if asked.max_per_document is None else 4)
        if asked.mode == "keyword":
            return {"keyword": await self._by_words(asked, question, scope, depth)}
        if asked.mode == "vector":
            return {"vector": await self._nearest(asked, question, scope, depth)}
        keyword, vector = await asyncio.gather(
            self._by_words(asked, question, scope, depth),
            self._nearest(asked, question, scope, depth),
        )
        return {"keyword": keyword, "vector": vector}

    @staticmethod
    async def _by_words(asked: Search, question: Question, scope: Scope, limit: int) -> list[Ranked]:
        return await best_chunks(question, scope, limit=limit, top_k=asked.top_k, is_exact=asked.is_exact)

    async def _nearest(self, asked: Search, question: Question, scope: Scope, limit: int) -> list[Ranked]:
        if not question.text:
            return []
        spaces = _by_space(scope.collections)
        if len(spaces) == 1:
            # Nothing to tell apart: collections that are in no space yet have no vectors in this one either.
            return await self._nearest_in(next(iter(spaces)), asked, question, scope, limit)
        by_space = []
        for space_id, collections in spaces.items():
            within = scope.within(collections)
            try:
                by_space.append(await self._nearest_in(space_id, asked, question, within, limit))
            except (EmbedderUnavailable, EmbedderRefused, ModelUnavailable) as error:
                error.hint = f"{_others_are_there(collections)} {error.hint}"
                raise
        # What one model takes for near says nothing about what another one does: only the order counts.
        placed = [(rank, found) for ranking in by_space for rank, found in enumerate(ranking)]
        placed.sort(key=lambda each: (each[0], -each[1].score))
        return [found for _, found in placed[:limit]]

    async def _nearest_in(
        self, space_id: int, asked: Search, question: Question, scope: Scope, limit: int
    ) -> list[Ranked]:
        model = await self.embedders.of_space(space_id)
        (vector,) = await model.embedder.embed([question.text], TextKind.QUERY)
        nearest = partial(
            nearest_chunks,
            vector,
            space_id=space_id,
            limit=limit,
            ef_search=asked.ef_search,
            is_exact=asked.is_exact,
        )
        if not (question.phrases or question.excluded):
            return await nearest(scope)
        found: list[Ranked] = []
        for language, collections in by_language(scope.collections).items():
            must = (await terms_of(question, language)).must
            found += await nearest(scope.within(collections), must=must)
        return sorted(found, key=best_first)[:limit]

    async def _reranked(self, asked: Search, hits: list[Hit]) -> list[Hit]:
        assert self.reranker is not None
        if not hits:
            return []
        scores = await self.reranker.scores(asked.query, [hit.text for hit in hits])
        ranked = [
            replace(hit, score=score, rerank_score=score) for hit, score in zip(hits, scores, strict=True)
        ]
        ranked.sort(key=lambda hit: -hit.score)
        least = asked.min_score
        return [hit for hit in ranked if least is None or hit.score >= least][: asked.top_k]


def _others_are_there(collections: Sequence[Collection]) -> str:
    names = ", ".join(f"'{collection.name}'" for collection in collections[:5])
    return f"It is the model of {names}: name other collections, or search with mode `keyword` meanwhile."


def _by_space(collections: Sequence[Collection]) -> dict[int, list[Collection]]:
    groups: dict[int, list[Collection]] = defaultdict(list)
    for collection in collections:
        if collection.space_id is not None:  # Else there is nothing in it yet.
            groups[collection.space_id].append(collection)
    return groups


def _good_enough(fused: list[Fused], min_score: float | None) -> list[Fused]:
    return fused if min_score is None else [each for each in fused if each.score >= min_score]
