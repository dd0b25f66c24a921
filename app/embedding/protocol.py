"""What an embedder is."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from itertools import chain
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class TextKind(StrEnum):
    """Some models embed questions and passages differently."""

    DOCUMENT = "document"
    QUERY = "query"


class Embedder(Protocol):
    """Maps texts to unit vectors. Made and closed by `app.services.resources`."""

    model: str  # Names the vector space: vectors of two models are never mixed.
    dimensions: int
    max_tokens: int  # Of one text, special tokens not counted.
    computes_here: bool  # In this process; a service elsewhere serves several calls at once as fast as one.

    def token_offsets(self, text: str) -> NDArray[np.int32]:
        """Cut a text of any length into tokens.

        Args:
            text: Any text; not cut to `max_tokens`.

        Returns:
            Array (n, 2) of `char_start, char_end`, ascending, a row for each token; special tokens are left
            out. Characters that yield no token (white space, control characters) are in no row.
        """
        ...

    async def embed(self, texts: Sequence[str], kind: TextKind = TextKind.DOCUMENT) -> NDArray[np.float32]:
        """Map texts to unit vectors; the event loop is kept for some milliseconds at a time, at the most.

        Args:
            texts: n texts of at most `max_tokens` tokens; what is longer is cut off.
            kind: What the texts are.

        Returns:
            Array (n, dimensions), float32, rows of length 1, in the order of `texts`.

        Raises:
            EmbedderUnavailable: The model cannot be reached; trying again may work.
            EmbedderRefused: The service will never take this request.
        """
        ...

    async def close(self) -> None:
        """Let go of threads and connections. Further calls of `embed` fail."""
        ...


def offsets_of(pairs: Sequence[tuple[int, int]]) -> NDArray[np.int32]:
    """`(char_start, char_end)` of each token, as an embedder gives them: (n, 2)."""
    return np.fromiter(chain.from_iterable(pairs), np.int32, 2 * len(pairs)).reshape(-1, 2)
