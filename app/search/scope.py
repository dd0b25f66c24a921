"""Where a search looks: in some collections, and there in the documents that a filter lets through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self
from uuid import UUID

from app.models.collection import Collection
from app.models.reach import Reach
from app.models.sql import fetch
from app.search.filters import SQL, All, Condition, Filter


class Ranked(NamedTuple):
    """A chunk that a leg of the search has found."""

    chunk_id: int
    document_id: UUID
    score: float


def best_first(ranked: Ranked) -> tuple[float, int]:
    """To sort by; equals by age, so that the same question has the same answer."""
    return -ranked.score, ranked.chunk_id


@dataclass(frozen=True, slots=True)
class Scope:
    """Documents of `collections` that `condition` holds for."""

    collections: Sequence[Collection]
    condition: Filter | None  # None: it holds for all, and those are all collections that there are.
    chunks: int | None  # In all of them; None: not known before looking.

    @classmethod
    async def of(cls, names: Sequence[str] | None, condition: Filter | None, reach: Reach) -> Self:
        """The scope as it is now, within reach. Collections that are not there, or out of reach, are places
        with nothing in them."""
        within = reach.narrowed(names)
        names = None if within is None else sorted(within)
        there = await Collection.searched(names)
        known = [each for each in there if each.deleting_at is None]
        # Chunks of one that is on its way out would take the places of others.
        if names is None and condition is None and len(known) == len(there):
            return cls(known, None, sum(each.chunks for each in known))
        own = [Condition("collection", "in", [each.name for each in known])]
        if condition is None:
            return cls(known, All(own), sum(each.chunks for each in known))
        return cls(known, All([*own, condition]), None)

    def within(self, collections: Sequence[Collection]) -> Scope:
        """The part of it that lies in these collections."""
        if len(collections) == len(self.collections):
            return self
        own = Condition("collection", "in", [each.name for each in collections])
        parts = [own] if self.condition is None else [own, self.condition]
        return Scope(collections, All(parts), None)

    async def is_small(self, *, chunks: int, documents: int) -> bool:
        """Whether it has at most so many chunks; where they have to be counted, of so many documents."""
        if self.chunks is not None:
            return self.chunks <= chunks
        sql = SQL()
        rows = await fetch(
            f"""
            SELECT count(*) AS documents, COALESCE(sum(chunk_count), 0) AS chunks FROM (
                SELECT chunk_count FROM documents AS d
                WHERE chunk_count > 0 AND {self.where(sql)} LIMIT {documents + 1:d}
            ) AS counted
            """,
            *sql.values,
        )
        return bool(rows[0]["chunks"] <= chunks and rows[0]["documents"] <= documents)

    def where(self, sql: SQL) -> str:
        """The condition on `documents AS d`."""
        return "TRUE" if self.condition is None else sql.where(self.condition)

    def joined(self, sql: SQL, alias: str) -> tuple[str, str]:
        """The join of `documents AS d` to a table with `document_id`, if one is needed; and the condition."""
        if self.condition is None:
            return "", "TRUE"
        return f"JOIN documents AS d ON d.id = {alias}.document_id", self.where(sql)

    def looked_up(self, sql: SQL, alias: str) -> str:
        """The condition for a row of a table with `document_id`, looked up for each row that comes.

        How many documents a filter lets through, nobody can tell beforehand: a join that is planned for one
        compares every row with every document when there are thousands. OFFSET keeps it from being one.
        """
        if self.condition is None:
            return "TRUE"
        document = f"d.id = {alias}.document_id AND {self.where(sql)}"
        return f"EXISTS (SELECT FROM documents AS d WHERE {document} OFFSET 0)"
