"""An embedder without a model, for tests: texts that share words are near each other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from app.embedding.brief import vectors_of
from app.embedding.protocol import TextKind

WORD = re.compile(r"\w+|[^\w\s]")


class HashEmbedder:
    """Adds up a fixed random direction per word, so that equal texts are equal and related ones near."""

    max_tokens = 512

    def __init__(self, dimensions: int = 64) -> None:
        self.dimensions = dimensions
        self.model = f"hash-{dimensions}"
        self._is_closed = False

    def token_offsets(self, text: str) -> Sequence[tuple[int, int]]:
        """Words and single marks."""
        return [word.span() for word in WORD.finditer(text)]

    async def embed(self, texts: Sequence[str], kind: TextKind = TextKind.DOCUMENT) -> NDArray[np.float32]:
        """See `Embedder.embed`; questions and passages are treated alike."""
        del kind
        if self._is_closed:
            raise RuntimeError("The embedder is closed.")
        return await vectors_of(texts, self._vectors)

    async def close(self) -> None:
        """There is nothing to let go of."""
        self._is_closed = True

    def _vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        # The first direction is in every text: no text is without one, and no vector without a length.
        always = np.zeros(self.dimensions, np.float32)
        always[0] = 0.1
        vectors = np.empty((len(texts), self.dimensions), np.float32)
        for row, text in enumerate(texts):
            words = WORD.findall(text)[: self.max_tokens]
            directions = [_direction(word.lower(), self.dimensions) for word in words]
            np.sum([always, *directions], axis=0, out=vectors[row])
        lengths: NDArray[np.float32] = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / lengths


@lru_cache(maxsize=32_768)
def _direction(word: str, dimensions: int) -> NDArray[np.float32]:
    seed = int.from_bytes(blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest())
    return np.random.default_rng(seed).standard_normal(dimensions, np.float32)
