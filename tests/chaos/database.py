"""The harness' own way to the database: it outlives the faults, and keeps a history of every move."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import asyncpg

PATIENCE_S = 60
AWAY = (OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.OperatorInterventionError)

# In the transaction of the move itself: what is not committed leaves no trace, what is committed always does.
# `writer` is one connection of one process, so that a process can be told by what it claimed.
HISTORY = """
CREATE SCHEMA chaos;
CREATE TABLE chaos.history (
    seq             BIGSERIAL PRIMARY KEY,
    document_id     UUID NOT NULL,
    was             TEXT,
    was_owner       TEXT,
    status          TEXT,
    attempt         INT,
    version         INT,
    failures        INT,
    owner           TEXT,
    writer          TEXT NOT NULL DEFAULT concat(pg_backend_pid(), ':', inet_client_port())
);
CREATE INDEX history_of_document ON chaos.history (document_id, seq);
CREATE FUNCTION chaos.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO chaos.history (document_id, was, was_owner, status, attempt, version, failures, owner)
    VALUES (COALESCE(NEW.id, OLD.id), OLD.status, OLD.lease_owner,
            NEW.status, NEW.attempt, NEW.version, NEW.failures, NEW.lease_owner);
    RETURN NULL;
END $$;
CREATE VIEW chaos.moves AS SELECT *, pg_xact_commit_timestamp(xmin) AS committed_at FROM chaos.history;
CREATE TRIGGER chaos_insert AFTER INSERT OR DELETE ON documents FOR EACH ROW EXECUTE FUNCTION chaos.note();
CREATE TRIGGER chaos_update AFTER UPDATE ON documents FOR EACH ROW
    WHEN ((OLD.status, OLD.attempt, OLD.version, OLD.failures)
          IS DISTINCT FROM (NEW.status, NEW.attempt, NEW.version, NEW.failures))
    EXECUTE FUNCTION chaos.note();
"""


class Database:
    """Queries that are asked again when the server went away meanwhile: they only read."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: asyncpg.Connection | None = None
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> Database:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.terminate()

    async def rows(self, query: str, *values: object) -> list[asyncpg.Record]:
        deadline = time.monotonic() + PATIENCE_S
        async with self._lock:
            while True:
                try:
                    if self._connection is None or self._connection.is_closed():
                        self._connection = await connect(self._url)
                    return await self._connection.fetch(query, *values)
                except AWAY:
                    if time.monotonic() > deadline:
                        raise
                    await asyncio.sleep(0.1)

    async def value(self, query: str, *values: object) -> Any:
        rows = await self.rows(query, *values)
        return rows[0][0] if rows else None


async def connect(url: str) -> asyncpg.Connection:
    """A connection that a fault that ends the application's connections leaves alone."""
    return await asyncpg.connect(
        url, server_settings={"application_name": "chaos"}, timeout=5, command_timeout=60
    )
