"""all-MiniLM-L6-v2, here in the process: offline, without torch."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import ctranslate2
import numpy as np
import structlog
from numpy.typing import NDArray
from tokenizers import Tokenizer

from app.embedding.batching import Batcher, Ids
from app.embedding.minilm_files import converted_model, package_files
from app.embedding.protocol import TextKind
from app.embedding.word_tokens import WordTokens
from app.errors import StartupError

log = structlog.get_logger(__name__)

#: The model was trained on at most 256 tokens, two of which are [CLS] and [SEP].
CLS, SEP = 101, 102
SPECIAL_TOKENS = 2
MAX_TOKENS = 256 - SPECIAL_TOKENS

#: Tokens of a batch. On a CPU it should stay in the caches: on two cores 256 to 512 were fastest with one
#: thread, 1,024 with two, and 4,096 a third slower. A GPU wants many; that number is a guess, not measured.
CPU_BATCH_TOKENS_PER_THREAD = 512
GPU_BATCH_TOKENS = 16_384


class MiniLMEmbedder:
    """The model that sentence-transformers publishes, run by CTranslate2; on a GPU where there is one.

    Made by `open`. Calls of `embed` that run at once share the model's batches.

    Source:
        The model card of sentence-transformers/all-MiniLM-L6-v2: mean over all tokens, then length 1.
    """

    model = "sentence-transformers/all-MiniLM-L6-v2"
    dimensions = 384
    max_tokens = MAX_TOKENS
    computes_here = True

    def __init__(self, tokenizer: Tokenizer, encoder: Any, *, batch_tokens: int) -> None:
        self._tokens = WordTokens.of_bert(tokenizer)
        self._encoder = encoder
        self._batcher = Batcher(self._run, self.dimensions, batch_tokens=batch_tokens)

    @classmethod
    async def open(cls, *, cache_dir: Path, threads: int = 1, compute_type: str = "int8") -> Self:
        """Load the model, off the event loop; converted into `cache_dir` on the first start.

        Args:
            threads: CPU threads for a batch.
            compute_type: `int8` (a quarter of the size, faster), or `float32`.

        Raises:
            ModelMissing: Its package is not installed.
            StartupError: The cache cannot be written, or the model not be loaded from it.
        """
        return await asyncio.to_thread(cls._load, cache_dir, threads, compute_type)

    @classmethod
    def _load(cls, cache_dir: Path, threads: int, compute_type: str) -> Self:
        files = package_files()
        tokenizer = Tokenizer.from_file(str(files / "tokenizer.json"))
        # The published file cuts to 128 tokens and pads to as many.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        model = converted_model(files, cache_dir=cache_dir, compute_type=compute_type)
        on_gpu = _gpu_encoder(model, compute_type)
        if on_gpu is not None:
            return cls(tokenizer, on_gpu, batch_tokens=GPU_BATCH_TOKENS)
        on_cpu = _cpu_encoder(model, threads, compute_type)
        return cls(tokenizer, on_cpu, batch_tokens=CPU_BATCH_TOKENS_PER_THREAD * threads)

    def token_offsets(self, text: str) -> NDArray[np.int32]:
        """See `Embedder.token_offsets`."""
        return self._tokens.offsets(text)

    async def embed(self, texts: Sequence[str], kind: TextKind = TextKind.DOCUMENT) -> NDArray[np.float32]:
        """See `Embedder.embed`. Questions go before passages."""
        ids = await asyncio.to_thread(lambda: list(map(self._ids, texts)))
        submitted = self._batcher.submit(ids, is_urgent=kind is TextKind.QUERY)
        return await asyncio.wrap_future(submitted)

    async def close(self) -> None:
        """Let go of the thread; what is not embedded yet fails."""
        await asyncio.to_thread(self._batcher.close)

    def _ids(self, text: str) -> Ids:
        """At most what the model takes."""
        return [CLS, *self._tokens.ids(text)[:MAX_TOKENS].tolist(), SEP]

    def _run(self, texts: list[Ids]) -> NDArray[np.float32]:
        output = self._encoder.forward_batch(texts)
        hidden = np.asarray(output.last_hidden_state.to_device(ctranslate2.Device.cpu), np.float32)
        lengths = np.array([len(ids) for ids in texts])
        is_token = np.arange(hidden.shape[1]) < lengths[:, None]
        # The sum over the tokens points where their mean does, and only the direction is kept.
        sums = np.einsum("nth,nt->nh", hidden, is_token.astype(np.float32))
        vectors: NDArray[np.float32] = sums / np.linalg.norm(sums, axis=1, keepdims=True)
        return vectors


def _gpu_encoder(model: Path, compute_type: str) -> Any | None:
    """The model on a GPU, if there is one that works."""
    if ctranslate2.get_cuda_device_count() == 0:
        return None
    if compute_type == "int8":
        compute_type = "int8_float16"  # What is not a matrix product is otherwise done in float32 there.
    try:
        encoder = ctranslate2.Encoder(str(model), device="cuda", compute_type=compute_type)
        # The driver alone is not enough, and that cuBLAS is missing is noticed by the first batch only.
        encoder.forward_batch([[CLS, SEP]])
    except (RuntimeError, ValueError) as error:
        log.warning("gpu_not_used", reason=str(error))
        return None
    return encoder


def _cpu_encoder(model: Path, threads: int, compute_type: str) -> Any:
    try:
        return ctranslate2.Encoder(
            str(model), device="cpu", compute_type=compute_type, inter_threads=1, intra_threads=threads
        )
    except (RuntimeError, ValueError) as error:
        # ValueError: a compute type that this processor does not have.
        raise StartupError(
            f"The embedding model cannot be loaded: {error}.", outside="The embedding model cannot be loaded."
        ) from error
