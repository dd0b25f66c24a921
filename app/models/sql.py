"""Statements of our own, where an ORM's words do not reach."""

from __future__ import annotations

from typing import Any

from tortoise import connections


async def fetch(query: str, *values: object, db: Any = None) -> list[dict[str, Any]]:
    """Run a statement on `db`, else in the transaction that the caller is in, else by itself."""
    return await (db or connections.get("default")).execute_query_dict(query, list(values))  # type: ignore[no-any-return]
