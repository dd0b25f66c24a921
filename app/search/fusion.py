"""Several rankings made one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from app.search.scope import Ranked

#: How much the first places count against the later ones: Cormack, Clarke and Büttcher (2009) found 60 to do
#: well wherever they looked.
RANK_CONSTANT = 60


class Place(NamedTuple):
    """Where a leg of the search saw a chunk."""

    rank: int  # From 1.
    score: float


class Fused(NamedTuple):
    """A chunk with its places."""

    chunk_id: int
    document_id: UUID
    score: float  # 1 for the first of all legs; of a single leg, its own score.
    legs: Mapping[str, Place]


def fuse(legs: Mapping[str, Sequence[Ranked]]) -> list[Fused]:
    """By reciprocal rank: a chunk gets 1 / (60 + rank) from each leg that found it. Best first.

    A single leg stays as it is, in its own order.
    """
    places: dict[tuple[int, UUID], dict[str, Place]] = {}
    for name, ranking in legs.items():
        for rank, ranked in enumerate(ranking, start=1):
            found = places.setdefault((ranked.chunk_id, ranked.document_id), {})
            found[name] = Place(rank, ranked.score)
    best = len(legs) / (RANK_CONSTANT + 1)
    fused = [
        Fused(
            chunk_id,
            document_id,
            next(iter(found.values())).score
            if len(legs) == 1
            else sum(1 / (RANK_CONSTANT + place.rank) for place in found.values()) / best,
            found,
        )
        for (chunk_id, document_id), found in places.items()
    ]
    return fused if len(legs) == 1 else sorted(fused, key=lambda each: (-each.score, each.chunk_id))


def at_most_of_each(fused: Sequence[Fused], limit: int) -> list[Fused]:
    """Without those of a document that come after its `limit` best."""
    kept: list[Fused] = []
    seen: dict[UUID, int] = {}
    for each in fused:
        seen[each.document_id] = seen.get(each.document_id, 0) + 1
        if seen[each.document_id] <= limit:
            kept.append(each)
    return kept
