"""WordLlama: a vector per token, of which a text's is the mean. A hundred times as fast as MiniLM."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from app.embedding.brief import vectors_of
from app.embedding.protocol import TextKind
from app.embedding.word_tokens import WordTokens
from app.errors import ModelMissing

PACKAGE = "wordllama"
TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"
WEIGHTS = "weights/l2_supercat_256.safetensors"

#: The model takes texts of any length, but the mean of a long one says little.
MAX_TOKENS = 512
#: What stands for a text without any token, which would have no direction.
UNKNOWN = 0
#: White space that the vocabulary has as bytes only.
BLANK_BYTES = frozenset(f"<0x{byte:02X}>" for byte in b"\t\n\v\f\r")


class StaticModel:
    """The model itself, for callers that may block. Any number of threads may use it at once.

    Source:
        `wordllama.WordLlama.load().embed(texts, norm=True)`. Of that package only the files are used: its
        import sets logging up, its loader looks for the tokenizer in the wrong folder, and it pads.
    """

    def __init__(self, tokenizer: Tokenizer, table: NDArray[np.float32]) -> None:
        self._tokens = WordTokens.of_sentencepiece(tokenizer)
        self._table = table  # (vocabulary, dimensions)
        self._is_blank = _blank_tokens(tokenizer)

    @classmethod
    def load(cls) -> Self:
        """Read it from its package.

        Raises:
            ModelMissing: That is not installed.
        """
        files = package_files()
        tokenizer = Tokenizer.from_file(str(files / TOKENIZER))
        return cls(tokenizer, load_file(files / WEIGHTS)["embedding.weight"].astype(np.float32))

    @property
    def dimensions(self) -> int:
        return int(self._table.shape[1])

    def token_offsets(self, text: str) -> NDArray[np.int32]:
        """See `Embedder.token_offsets`. A character that the vocabulary lacks is a token for each byte."""
        return self._tokens.offsets(text)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Texts to unit vectors, (n, dimensions)."""
        vectors = np.empty((len(texts), self.dimensions), np.float32)
        for row, text in enumerate(texts):
            # The sum points where the mean does, and only the direction is kept.
            vectors[row] = self._table.take(self._cut(self._tokens.ids(text)), axis=0).sum(axis=0)
        lengths: NDArray[np.float32] = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / lengths

    def _cut(self, ids: NDArray[np.int32]) -> NDArray[np.int32]:
        """The ids up to the last token that counts; those of white space are in none of the offsets."""
        if not len(ids):
            return np.array([UNKNOWN], np.int32)
        if len(ids) <= MAX_TOKENS:
            return ids
        counted = np.flatnonzero(~self._is_blank[ids])
        return ids if len(counted) <= MAX_TOKENS else ids[: counted[MAX_TOKENS - 1] + 1]


class StaticEmbedder:
    """`StaticModel`, in slices that keep an event loop from nothing else. Made by `open`."""

    model = "wordllama-l2-supercat"
    max_tokens = MAX_TOKENS
    computes_here = True

    def __init__(self, static_model: StaticModel) -> None:
        self.dimensions = static_model.dimensions
        self._static_model = static_model
        self._is_closed = False

    @classmethod
    async def open(cls) -> Self:
        """Load the model.

        Raises:
            ModelMissing: Its package is not installed.
        """
        return cls(await asyncio.to_thread(StaticModel.load))

    def token_offsets(self, text: str) -> NDArray[np.int32]:
        """See `Embedder.token_offsets`."""
        return self._static_model.token_offsets(text)

    async def embed(self, texts: Sequence[str], kind: TextKind = TextKind.DOCUMENT) -> NDArray[np.float32]:
        """See `Embedder.embed`; questions and passages are treated alike."""
        del kind
        if self._is_closed:
            raise RuntimeError("The embedder is closed.")
        return await vectors_of(texts, self._static_model.embed)

    async def close(self) -> None:
        """There is nothing to let go of."""
        self._is_closed = True


def package_files() -> Path:
    """The folder of the package, with weights and tokenizer.

    Raises:
        ModelMissing: It is not installed.
    """
    # Only looked for, not imported: see `StaticModel`.
    spec = importlib.util.find_spec(PACKAGE)
    files = None if spec is None or spec.origin is None else Path(spec.origin).parent
    if files is None or not (files / WEIGHTS).is_file() or not (files / TOKENIZER).is_file():
        raise ModelMissing(PACKAGE, "requirements-static.txt")
    return files


def _blank_tokens(tokenizer: Tokenizer) -> NDArray[np.bool_]:
    """By id, whether a token is nothing but white space; the tokenizer writes a blank as U+2581."""
    is_blank = np.zeros(tokenizer.get_vocab_size(), bool)
    for token, number in tokenizer.get_vocab().items():
        is_blank[number] = token.replace("\u2581", " ").isspace() or token in BLANK_BYTES
    return is_blank
