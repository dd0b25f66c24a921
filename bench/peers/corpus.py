"""Documents of some length out of Cranfield's abstracts."""

from __future__ import annotations

import random

from bench.cranfield import cranfield

ABSTRACTS_EACH = 4


def documents(count: int) -> list[str]:
    """So many different ones of four abstracts each, drawn at random; the same on each call."""
    abstracts = list(cranfield().texts.values())
    chance = random.Random(7)
    return [
        "\n\n".join([f"Report {number}.", *chance.sample(abstracts, ABSTRACTS_EACH)])
        for number in range(count)
    ]
