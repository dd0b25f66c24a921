"""`sluice migrate`: for databases that are not the embedded one, and for deployments."""

from __future__ import annotations

import asyncio

from app.core.config import get_settings


def migrate() -> None:
    """Bring the tables of DATABASE_URL up to date."""
    from app.core import database  # noqa: PLC0415  # It takes half a second; the other commands do without.

    applied = asyncio.run(database.migrate(get_settings()))
    for name in applied:
        print(f"applied {name}")
    if not applied:
        print("The tables are up to date.")
