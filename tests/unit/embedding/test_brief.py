"""Models that only look words up, on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from app.embedding.brief import SLICE_CHARS, vectors_of

HALF = SLICE_CHARS // 2


@pytest.mark.parametrize(
    ("sizes", "slices"),
    [
        ([], [0]),
        ([5], [1]),
        ([0, 0], [2]),
        ([HALF, HALF, 1], [2, 1]),
        ([1, SLICE_CHARS, 1], [1, 1, 1]),
        ([3 * SLICE_CHARS, 3 * SLICE_CHARS], [1, 1]),
    ],
)
async def test_texts_are_embedded_slice_by_slice_in_their_order(sizes: list[int], slices: list[int]) -> None:
    seen: list[int] = []

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        seen.append(len(texts))
        return np.array([[len(text), 1] for text in texts], np.float32).reshape(-1, 2)

    vectors = await vectors_of(["x" * size for size in sizes], embed)

    assert seen == slices
    assert vectors.tolist() == [[size, 1] for size in sizes]


async def test_others_have_their_turn_between_slices() -> None:
    turns: list[str] = []

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        turns.append("embed")
        return np.zeros((len(texts), 2), np.float32)

    async def other() -> None:
        for _ in range(2):
            turns.append("other")
            await asyncio.sleep(0)

    await asyncio.gather(vectors_of(["x" * SLICE_CHARS] * 3, embed), other())

    assert turns == ["embed", "other", "embed", "other", "embed"]
