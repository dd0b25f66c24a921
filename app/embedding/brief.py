"""Runs what a model computes that only looks words up: on the event loop, a little at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

#: Such a model embeds so many characters in a few milliseconds.
SLICE_CHARS = 16384


async def vectors_of(
    texts: Sequence[str], embed: Callable[[Sequence[str]], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """What `embed` makes of the texts, with turns for others in between.

    In a thread it would share the interpreter with the event loop: both together took longer.
    """
    slices = _slices(texts)
    vectors = [embed(next(slices, ()))]
    for some in slices:
        await asyncio.sleep(0)
        vectors.append(embed(some))
    return np.concatenate(vectors) if len(vectors) > 1 else vectors[0]


def _slices(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    first, size = 0, 0
    for at, text in enumerate(texts):
        if size and size + len(text) > SLICE_CHARS:
            yield texts[first:at]
            first, size = at, 0
        size += len(text)
    if texts:
        yield texts[first:]
