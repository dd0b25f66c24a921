"""What several test modules need."""

from __future__ import annotations

from tortoise import connections


async def emptied_database() -> None:
    """Remove all documents; the vector space stays."""
    await connections.get("default").execute_script("TRUNCATE documents CASCADE")
