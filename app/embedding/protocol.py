"""What an embedder is."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
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

    def token_offsets(self, text: str) -> Sequence[tuple[int, int]]:
        """Cut a text of any length into tokens: `(char_start, char_end)` of each, ascending.

        Args:
            text: Any text; not cut to `max_tokens`.

        Returns:
            One pair per token, special tokens left out. Characters that yield no token (white space,
            control characters) are in no pair.
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
