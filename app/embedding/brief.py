"""Runs what a model computes: at once where that is brief, else in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

#: A model that only looks words up embeds so many characters in a few milliseconds.
SMALL_CHARS = 16384


async def vectors_of(
    texts: Sequence[str], embed: Callable[[Sequence[str]], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """What `embed` makes of the texts, without keeping the event loop from its work."""
    if sum(map(len, texts)) <= SMALL_CHARS:
        return embed(texts)
    return await asyncio.to_thread(embed, texts)
