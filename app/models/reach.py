"""What a call may see and change: made of its key, and handed down to whatever reads or moves documents."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass

from app.errors import Forbidden


@dataclass(frozen=True, slots=True)
class Reach:
    """Collections, and what may be done there.

    What lies outside is treated as if it did not exist; only who wants to put something there is told that he
    may not, whether there is such a collection or not.
    """

    collections: frozenset[str] | None = None  # None: all, also those to come.
    may_write: bool = True
    may_make_keys: bool = False

    @property
    def is_limited(self) -> bool:
        """Whether there may be collections that it leaves out."""
        return self.collections is not None

    def covers(self, collection: str) -> bool:
        """Whether a collection lies within."""
        return self.collections is None or collection in self.collections

    def require(self, collection: str) -> None:
        """
        Raises:
            Forbidden: The collection lies outside.
        """
        if not self.covers(collection):
            raise Forbidden(f"This key does not open the collection '{collection}'.", self.collections)

    def narrowed(self, asked: Collection[str] | None) -> frozenset[str] | None:
        """Those of the collections that are asked for that lie within; None stands for all, here as there."""
        if self.collections is None:
            return None if asked is None else frozenset(asked)
        return self.collections if asked is None else self.collections.intersection(asked)

    def names(self) -> list[str] | None:
        """The value that `within` and `sent_within` are about."""
        return None if self.collections is None else sorted(self.collections)

    def own(self, idempotency_key: str) -> str:
        """What an `Idempotency-Key` is called among everybody's.

        Whoever has another reach has other keys, so that nobody is given another's answer, nor can tell which
        keys others have used. The sign before it is in no header's key.
        """
        if self.collections is None:
            return idempotency_key
        said = json.dumps([self.names(), idempotency_key])
        return f"§{hashlib.sha256(said.encode()).hexdigest()}"


#: Of a key in the settings, and of everybody where there is none.
EVERYTHING = Reach(may_make_keys=True)


def within(column: str, value: str) -> str:
    """SQL for rows whose collection, in `column`, lies within a reach; `value` is where its `names` stand."""
    return f"({value}::text[] IS NULL OR {column} = ANY({value}::text[]))"


def sent_within(column: str, value: str) -> str:
    """Likewise for what was sent with a reach of its own, in `column`: no wider than the one that asks."""
    return f"({value}::text[] IS NULL OR {column} <@ {value}::text[])"
