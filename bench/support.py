"""What the benches share: a service of their own, and the corpora."""

from __future__ import annotations

import asyncio
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import redis

from app.cli.stack import Stack, StackOptions
from app.core.config import get_settings
from app.embedded import EmbeddedPostgres, EmbeddedValkey, free_port


def corpora(name: str) -> Path:
    """A folder of the public corpora.

    Raises:
        SystemExit: They are not here.
    """
    folder = Path(os.environ.get("SLUICE_CORPORA", "../shared/corpora")) / name
    if not folder.is_dir():
        sys.exit(f"{folder} is not there: set SLUICE_CORPORA to the folder with the public corpora.")
    return folder


@contextmanager
def service(
    *,
    workers: int,
    data: Path | None = None,
    storage: Path | None = None,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Stack]:
    """The whole service on an empty database; its data, or its large contents, in a given folder.

    Args:
        settings: As environment variables; with `DATABASE_URL` and `REDIS_URL`, it starts no servers.
    """
    for name in ("DATABASE_URL", "REDIS_URL", "STORAGE_URL"):
        os.environ.pop(name, None)
    if storage is not None:
        os.environ["STORAGE_URL"] = f"file://{storage}"
    os.environ.update(settings or {})
    get_settings.cache_clear()
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        data = data or Path(folder)
        # The converted model is the same for all runs.
        os.environ.setdefault("MODEL_CACHE_DIR", str(Path(".data/models").absolute()))
        options = StackOptions(data=data, host="127.0.0.1", port=free_port(), workers=workers)
        with Stack(options, lambda text: print(text, file=sys.stderr)) as stack:
            yield stack


class Servers:
    """PostgreSQL and Valkey for all sides of a comparison, with the settings that Sluice brings."""

    def __init__(self, postgres: EmbeddedPostgres, valkey: EmbeddedValkey) -> None:
        self._postgres = postgres
        self._valkey = valkey
        self._made = 0

    @property
    def redis_url(self) -> str:
        return self._valkey.url

    def emptied_redis_url(self) -> str:
        """Of the one queue server, with nothing in it."""
        with redis.Redis.from_url(self._valkey.url) as client:
            client.flushall()
        return self._valkey.url

    def new_database_url(self) -> str:
        """Of an empty database with pgvector; what others left to write is on the disk by then."""
        self._made += 1
        name = f"bench_{self._made}"
        asyncio.run(self._make_database(name))
        return self._postgres.url_for(name)

    async def _make_database(self, name: str) -> None:
        await execute(self._postgres.url, f"CREATE DATABASE {name}")
        await execute(self._postgres.url_for(name), "CREATE EXTENSION vector")
        await execute(self._postgres.url, "CHECKPOINT")

    def drop(self, database_url: str) -> None:
        """Have no more of it, whoever is still connected."""
        name = urlsplit(database_url).path[1:]
        asyncio.run(execute(self._postgres.url, f"DROP DATABASE {name} WITH (FORCE)"))

    def cpu_seconds(self) -> float:
        """What PostgreSQL has used so far."""
        assert self._postgres.pid is not None
        return cpu_seconds(self._postgres.pid)

    def versions(self) -> str:
        """Of both, and of pgvector."""
        url = self.new_database_url()
        postgres = asyncio.run(fetch_value(url, "SHOW server_version"))
        vector = asyncio.run(fetch_value(url, "SELECT extversion FROM pg_extension WHERE extname = 'vector'"))
        self.drop(url)
        with redis.Redis.from_url(self._valkey.url) as client:
            valkey = client.info("server")["valkey_version"]
        return f"PostgreSQL {postgres}, pgvector {vector}, Valkey {valkey}"


@contextmanager
def servers() -> Iterator[Servers]:
    """Both, with empty folders, for as long as the block lasts."""
    with (
        tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder,
        EmbeddedPostgres(Path(folder) / "postgres") as postgres,
        EmbeddedValkey(Path(folder) / "valkey") as valkey,
    ):
        yield Servers(postgres, valkey)


async def execute(database_url: str, sql: str) -> None:
    """One statement, by a connection of its own."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


async def fetch_value(database_url: str, sql: str) -> Any:
    """What one statement says, by a connection of its own."""
    connection = await asyncpg.connect(database_url)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


def cpu_seconds(pid: int) -> float:
    """What a process and its descendants have used, those that have ended among them."""
    own: dict[int, tuple[int, int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # It has ended meanwhile.
            # The name comes before, in parentheses, and may hold anything.
            fields = path.read_text().rpartition(")")[2].split()
            own[int(path.parent.name)] = (int(fields[1]), sum(map(int, fields[11:15])))
    total, waiting = 0, [pid]
    while waiting:
        one = waiting.pop()
        total += own.get(one, (0, 0))[1]
        waiting += [child for child, (parent, _) in own.items() if parent == one]
    return total / os.sysconf("SC_CLK_TCK")


def conditions() -> str:
    """The machine, in a line."""
    return (
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()},"
        f" load {os.getloadavg()[0]:.1f} at the start"
    )


async def counted(database_url: str) -> None:
    """Wait until the words of all chunks are counted, as they are seconds after an import."""
    connection = await asyncpg.connect(database_url)
    try:
        while await connection.fetchval(
            "SELECT EXISTS (SELECT FROM chunk_changes) OR EXISTS (SELECT FROM collections"
            " WHERE changed_chunks * 10 > chunks)"
        ):
            await asyncio.sleep(0.5)
    finally:
        await connection.close()
