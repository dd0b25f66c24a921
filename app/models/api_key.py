"""Keys that are made while the service runs: what each opens, and until when.

The table has a digest of each secret and nothing that leads back to it. Secrets are random and long, so that
a fast digest is enough: there is nothing to guess.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from app.errors import KeyNotFound, TooManyKeys
from app.models.reach import Reach
from app.models.sql import fetch

#: A list of all of them is one answer.
MOST = 1000

#: By how much the moment of the last use may be too early.
USE_IS_NOTED_EVERY_S = 60

COLUMNS = "id, name, begins, collections, may_write, expires_at, created_at, last_used_at"


def digest_of(secret: bytes) -> bytes:
    """What is kept of a secret: its SHA-256."""
    return hashlib.sha256(secret).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A row in `api_keys`, without its digest."""

    id: UUID
    name: str
    begins: str  # The secret's first characters, for people to know it by.
    collections: Sequence[str] | None  # None: all.
    may_write: bool
    expires_at: datetime | None
    created_at: datetime
    last_used_at: datetime | None

    @property
    def reach(self) -> Reach:
        """What it opens."""
        collections = None if self.collections is None else frozenset(self.collections)
        return Reach(collections, may_write=self.may_write)

    @classmethod
    async def create(
        cls,
        *,
        name: str,
        digest: bytes,
        begins: str,
        collections: Sequence[str] | None,
        may_write: bool,
        expires_at: datetime | None,
    ) -> Self:
        """A new one, which opens from now on.

        Raises:
            TooManyKeys: There are `MOST` already.
        """
        rows = await fetch(
            f"""
            INSERT INTO api_keys (name, digest, begins, collections, may_write, expires_at)
            SELECT $1, $2, $3, $4::varchar[], $5, $6 WHERE (SELECT count(*) FROM api_keys) < {MOST}
            RETURNING {COLUMNS}
            """,
            name,
            digest,
            begins,
            None if collections is None else sorted(set(collections)),
            may_write,
            expires_at,
        )
        if not rows:
            raise TooManyKeys(MOST)
        return cls(**rows[0])

    @classmethod
    async def all(cls) -> list[Self]:
        """All of them, oldest first, also those that have expired."""
        rows = await fetch(f"SELECT {COLUMNS} FROM api_keys ORDER BY created_at, id")
        return [cls(**row) for row in rows]

    @classmethod
    async def get(cls, key_id: UUID) -> Self:
        """
        Raises:
            KeyNotFound: There is none.
        """
        return cls._one(key_id, await fetch(f"SELECT {COLUMNS} FROM api_keys WHERE id = $1", key_id))

    @classmethod
    async def remove(cls, key_id: UUID) -> None:
        """Have it open nothing any more.

        Raises:
            KeyNotFound: There is none.
        """
        cls._one(key_id, await fetch(f"DELETE FROM api_keys WHERE id = $1 RETURNING {COLUMNS}", key_id))

    @classmethod
    def _one(cls, key_id: UUID, rows: Sequence[Mapping[str, Any]]) -> Self:
        if not rows:
            raise KeyNotFound(key_id)
        return cls(**rows[0])


@dataclass(frozen=True, slots=True)
class Opening:
    """What a secret opens just now."""

    key_id: UUID
    reach: Reach
    left_s: float  # Until it expires, by the database's clock; infinite when it does not.
    is_use_noted: bool  # Of the last minute.


async def look_up(digest: bytes) -> Opening | None:
    """What the secret of this digest opens; None when it opens nothing, or nothing any more."""
    rows = await fetch(
        f"""
        SELECT {COLUMNS},
            COALESCE(EXTRACT(epoch FROM expires_at - clock_timestamp()), 'infinity')::float AS left_s,
            COALESCE(last_used_at > now() - make_interval(secs => {USE_IS_NOTED_EVERY_S}), FALSE) AS is_noted
        FROM api_keys WHERE digest = $1 AND (expires_at IS NULL OR expires_at > clock_timestamp())
        """,
        digest,
    )
    if not rows:
        return None
    row = rows[0]
    left_s, is_noted = row.pop("left_s"), row.pop("is_noted")
    key = ApiKey(**row)
    return Opening(key.id, key.reach, left_s, is_noted)


async def note_use(key_id: UUID) -> None:
    """Write down that a key is used, unless somebody has just now."""
    await fetch(
        f"""
        UPDATE api_keys SET last_used_at = now() WHERE id = $1 AND (
            last_used_at IS NULL OR last_used_at <= now() - make_interval(secs => {USE_IS_NOTED_EVERY_S})
        ) RETURNING id
        """,
        key_id,
    )
