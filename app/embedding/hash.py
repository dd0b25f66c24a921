"""An embedder without a model, for tests: texts that share words are near each other."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from app.embedding.brief import vectors_of
from app.embedding.protocol import TextKind, offsets_of

WORD = re.compile(r"\w+|[^\w\s]")


#: So many words' directions are kept; then all are forgotten.
WORDS_KEPT = 32_768


class HashEmbedder:
    """Adds up a fixed random direction per word, so that equal texts are equal and related ones near."""

    max_tokens = 512
    computes_here = True

    def __init__(self, dimensions: int = 64) -> None:
        self.dimensions = dimensions
        self.model = f"hash-{dimensions}"
        self._directions = _Directions(dimensions)
        self._is_closed = False

    def token_offsets(self, text: str) -> NDArray[np.int32]:
        """Words and single marks."""
        return offsets_of([word.span() for word in WORD.finditer(text)])

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
        vectors = np.empty((len(texts), self.dimensions), np.float32)
        for row, text in enumerate(texts):
            words = WORD.findall(text)[: self.max_tokens]
            vectors[row] = self._directions.of([word.lower() for word in words]).sum(axis=0)
        # One direction is in every text: no text is without one, and no vector without a length.
        vectors[:, 0] += 0.1
        lengths: NDArray[np.float32] = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / lengths


class _Directions:
    """Those of words, of which most were seen before. Any number of threads may ask at once."""

    def __init__(self, dimensions: int) -> None:
        self._table = np.empty((WORDS_KEPT, dimensions), np.float32)
        self._rows: dict[str, int] = {}
        self._lock = threading.Lock()

    def of(self, words: Sequence[str]) -> NDArray[np.float32]:
        """(n, dimensions), of at most `max_tokens` words."""
        with self._lock:
            if len(self._rows) + len(words) > WORDS_KEPT:
                self._rows.clear()
            for word in words:
                if word not in self._rows:
                    row = self._rows[word] = len(self._rows)
                    self._table[row] = _direction(word, self._table.shape[1])
            return self._table[[self._rows[word] for word in words]]


def _direction(word: str, dimensions: int) -> NDArray[np.float32]:
    seed = int.from_bytes(blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest())
    return np.random.default_rng(seed).standard_normal(dimensions, np.float32)
