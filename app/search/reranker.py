"""A model that reads question and passage together: slower than a search, and a better judge of a few."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import httpx
from pydantic import BaseModel, SecretStr, ValidationError

from app.errors import RerankerUnavailable


class _Result(BaseModel):
    index: int
    relevance_score: float | None = None
    score: float | None = None  # What TEI calls it.


class _Answer(BaseModel):
    results: list[_Result]


class Reranker:
    """Any service with a `/rerank` as Cohere, Jina, vLLM and TEI have it.

    Args of the constructor:
        url: Of the endpoint itself, `…/rerank`.
        model: What Cohere, Jina and vLLM call it; None for TEI, which has one, and other names for things.
    """

    def __init__(self, *, url: str, model: str | None, api_key: SecretStr | None, timeout_s: float) -> None:
        headers = {} if api_key is None else {"Authorization": f"Bearer {api_key.get_secret_value()}"}
        self._url = url
        self._model = model
        self._client = httpx.AsyncClient(headers=headers, timeout=timeout_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def scores(self, question: str, texts: Sequence[str]) -> list[float]:
        """How well each text answers, in the service's own measure: more is better.

        Raises:
            RerankerUnavailable: It does not answer, or not with a score for each text.
        """
        asked: dict[str, Any]
        if self._model is None:
            asked = {"query": question, "texts": list(texts)}
        else:
            asked = {"model": self._model, "query": question, "documents": list(texts), "top_n": len(texts)}
        try:
            answer = await self._client.post(self._url, json=asked)
            answer.raise_for_status()
            body = answer.json()
            # TEI answers with the list alone.
            results = _Answer.model_validate({"results": body} if isinstance(body, list) else body).results
        except httpx.HTTPStatusError as error:
            raise RerankerUnavailable(f"it answered {error.response.status_code}") from None
        except httpx.HTTPError as error:
            raise RerankerUnavailable(type(error).__name__) from None
        except (ValidationError, ValueError):
            raise RerankerUnavailable("its answer is not that of a reranker") from None
        scores = {
            result.index: result.score if result.relevance_score is None else result.relevance_score
            for result in results
        }
        if set(scores) != set(range(len(texts))) or None in scores.values():
            raise RerankerUnavailable("it left texts without a score")
        return [score for _, score in sorted(scores.items()) if score is not None]
