"""What the pipelines beside Sluice share: their question and answer, and Sluice's own embedder as a function.

They run in environments of their own, which have none of Sluice's libraries but those of the embedder.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

sys.path[0] = str(
    Path(__file__).parents[2]
)  # In place of this folder, whose files bear the libraries' names.

from app.embedding.static import StaticModel  # noqa: E402

#: Of the HNSW index: pgvector's defaults, which Sluice keeps.
HNSW_M, HNSW_EF_CONSTRUCTION = 16, 64
#: Texts handed to the embedder in one call, where a library lets us say.
EMBED_AT_ONCE = 128


class Question(NamedTuple):
    """What is to be loaded, and where."""

    database_url: str
    texts: list[str]
    chunk_tokens: int
    overlap_tokens: int
    tokens_per_word: float
    in_one_go: bool  # The HNSW index may be built at the end, over all at once.

    def url(self, scheme: str) -> str:
        """The database's, as a library wants it to begin."""
        return urlsplit(self.database_url)._replace(scheme=scheme).geturl()

    @property
    def chunk_words(self) -> int:
        """As many as make up a chunk, for what counts no tokens of its own."""
        return int(self.chunk_tokens / self.tokens_per_word)

    @property
    def overlap_words(self) -> int:
        return int(self.overlap_tokens / self.tokens_per_word)


class Loaded(NamedTuple):
    """What became of it."""

    chunks: int
    table: str


Load = Callable[[], Loaded]


def answer(prepare: Callable[[Question, StaticModel], Load], *, packages: list[str]) -> None:
    """Read the question, make everything ready, and time the rest.

    It prints `{seconds, cpu_seconds, chunks, table, versions}`; the CPU time is that of this process.
    """
    question = Question(**json.load(sys.stdin))
    load = prepare(question, StaticModel.load())
    begun, cpu_begun = time.perf_counter(), time.process_time()
    loaded = load()
    told: dict[str, Any] = {
        "seconds": time.perf_counter() - begun,
        "cpu_seconds": time.process_time() - cpu_begun,
        "chunks": loaded.chunks,
        "table": loaded.table,
        "versions": {package: version(package) for package in packages},
    }
    # Libraries print what they like before it.
    print("\n" + json.dumps(told))
