"""Contents on their way into an object store: a row in `uploads` for each, from before its object is there.

The transaction in which a document names the content ends the row, and has to find it. Whoever removes what
was left behind takes the row first. So one of the two has it, never both, however long the other one stood.
"""

from __future__ import annotations

from collections.abc import Sequence

from app.errors import UploadForgotten
from app.models.sql import fetch


async def begin(key: str) -> None:
    """Note that a content is about to be stored under this key."""
    await fetch("INSERT INTO uploads (key) VALUES ($1) RETURNING key", key)


async def end(key: str) -> None:
    """A document names it from now on; to be called inside the transaction that writes the document.

    Raises:
        UploadForgotten: It was given up, and its object is gone or about to be: nothing may be committed.
    """
    if not await fetch("DELETE FROM uploads WHERE key = $1 RETURNING key", key):
        raise UploadForgotten


async def forget(*, older_than_s: float, limit: int) -> list[str]:
    """Give up those that began so long ago; their keys, which no document can name any more.

    One whose document is being written just now is locked, and left alone.
    """
    rows = await fetch(
        """
        DELETE FROM uploads WHERE key IN (
            SELECT key FROM uploads WHERE started_at < now() - make_interval(secs => $1)
            LIMIT $2 FOR UPDATE SKIP LOCKED
        ) RETURNING key
        """,
        older_than_s,
        limit,
    )
    return [row["key"] for row in rows]


async def unnamed(keys: Sequence[str]) -> list[str]:
    """Those that neither a document nor an upload names, nor ever will: both are asked in one moment."""
    rows = await fetch(
        """
        SELECT key FROM unnest($1::text[]) AS k (key)
        WHERE NOT EXISTS (SELECT FROM uploads AS u WHERE u.key = k.key)
            AND NOT EXISTS (SELECT FROM documents WHERE content_key = k.key)
        """,
        list(keys),
    )
    return [row["key"] for row in rows]
