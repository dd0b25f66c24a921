"""The whole service for one fault, on servers that a run of several faults shares."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff

from app.core.config import Settings
from app.core.database import migrate
from app.embedded import EmbeddedPostgres, EmbeddedValkey, free_port
from app.jobs.reconciler import MISSED_S
from tests.chaos import history
from tests.chaos.database import HISTORY, Database, connect
from tests.chaos.programs import LOOK_S, START_TIMEOUT_S, Program

FULL_LEASE_S = 30.0


@dataclass(frozen=True, slots=True)
class Scale:
    """How large and how fast a run is. Figures are stated for the full one, and shrink with the lease."""

    documents: int = 1000
    lease_s: float = FULL_LEASE_S
    beat_s: float = 10
    sweep_s: float = 5
    over_s: float = 45  # How long the clients take to post everything.
    fsync: bool = True
    workers: int = 2
    leeway_s: float = 0  # On top of the bounds, where it does not matter how fast something is made good.

    def seconds(self, full_s: float) -> float:
        """What is so long in the full run."""
        return full_s * self.lease_s / FULL_LEASE_S

    @property
    def takeover_s(self) -> float:
        """The promise: a lease, a sweep, and a second to pick it up."""
        return self.lease_s + self.sweep_s + 1 + self.leeway_s

    @property
    def noticed_s(self) -> float:
        """The promise when a worker dies and others live: two sweeps, and a second to pick it up."""
        return 2 * max(self.sweep_s, MISSED_S) + 1 + self.leeway_s

    def environment(self) -> dict[str, str]:
        return {"LEASE_S": f"{self.lease_s}", "BEAT_S": f"{self.beat_s}", "SWEEP_S": f"{self.sweep_s}"}


class Servers:
    """PostgreSQL and Valkey; a database for each fault is copied from one with tables and a history."""

    def __init__(self, folder: Path, *, fsync: bool) -> None:
        self.folder = folder.resolve()
        # A move counts from its commit: a worker may stand still for a minute between the two.
        settings = {"track_commit_timestamp": "on", "max_connections": "300"}
        settings |= {} if fsync else {"fsync": "off"}
        self.postgres = EmbeddedPostgres(folder / "postgres", settings=settings)
        self.valkey = EmbeddedValkey(folder / "valkey")
        self._queues = itertools.cycle(range(16))

    async def __aenter__(self) -> Self:
        try:
            self.postgres.start()
            self.valkey.start()
            await migrate(Settings(DATABASE_URL=self.postgres.url))
            await self._execute(self.postgres.url, HISTORY)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self.valkey.stop()
        self.postgres.stop()

    def fresh_queue(self) -> str:
        """The URL of one that no running rig has."""
        return self.valkey.url_for(next(self._queues))

    async def fresh_database(self, name: str) -> str:
        """The URL of a new one."""
        maintenance = self.postgres.url_for("postgres")
        await self._execute(maintenance, f'CREATE DATABASE "{name}" TEMPLATE sluice')
        return self.postgres.url_for(name)

    async def drop_database(self, name: str) -> None:
        await self._execute(self.postgres.url_for("postgres"), f'DROP DATABASE "{name}" WITH (FORCE)')

    def empty_valkey(self) -> None:
        """Kill Valkey, forget what it had on disk, and start it again where it was."""
        self.kill_valkey()
        for path in self.valkey.data_dir.glob("appendonlydir"):
            shutil.rmtree(path)
        self.valkey.restart()

    def kill_valkey(self) -> None:
        self.valkey.stop(patience_s=0)

    async def _execute(self, url: str, query: str) -> None:
        connection = await connect(url)
        try:
            await connection.execute(query)
        finally:
            await connection.close()


@dataclass(frozen=True, slots=True)
class Stopped:
    """A worker that stands still, and what it held at that moment."""

    program: Program
    held: Sequence[history.Held]
    since: float


class Rig:
    """API and workers on a database, a queue and a storage folder of their own.

    Args:
        name: Of the fault; its logs lie in a folder of this name.
        through: Turns the database's address into another one that leads there.
    """

    def __init__(
        self,
        servers: Servers,
        scale: Scale,
        *,
        name: str,
        api: str,
        worker: str,
        environment: Mapping[str, str],
        workers: int,
        through: Callable[[str], str] | None = None,
    ) -> None:
        self.servers = servers
        self.scale = scale
        self.name = name
        self.folder = servers.folder / name
        self.port = free_port()
        self._modules = (api, worker)
        self._environment = dict(environment)
        self._workers = workers
        self._through = through or (lambda url: url)
        self._opened = AsyncExitStack()
        self.programs: list[Program] = []
        self.orphans: list[int] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self.folder.mkdir()
        url = await self.servers.fresh_database(self.name)
        self.database = await self._opened.enter_async_context(Database(url))
        # Faults close its connection, too.
        patient = Retry(ConstantBackoff(0.1), 50)
        self._redis_url = self.servers.fresh_queue()
        self.redis = redis.asyncio.Redis.from_url(self._redis_url, socket_timeout=5, retry=patient)
        await self.redis.flushdb()
        try:
            self._start_programs(self._through(url))
            await self._wait_until_ready()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        for program in self.programs:
            self.orphans += await program.destroy()
        await self.redis.aclose()
        await self._opened.aclose()
        await self.servers.drop_database(self.name)

    @property
    def workers(self) -> list[Program]:
        return self.programs[1:]

    def _start_programs(self, database_url: str) -> None:
        api, worker = self._modules
        environment = {
            "DATABASE_URL": database_url,
            "REDIS_URL": self._redis_url,
            "STORAGE_URL": f"file://{self.folder / 'content'}",
            "EMBEDDER": "hash",
            "LOG_FORMAT": "json",
            "PYTHONUNBUFFERED": "1",
            "CHAOS_FOLDER": str(self.folder),
            **self.scale.environment(),
            **self._environment,
        }
        serve = [
            "uvicorn",
            api,
            "--port",
            str(self.port),
            "--no-access-log",
            "--timeout-graceful-shutdown",
            "5",
        ]
        work = ["dramatiq", worker, "--processes", "1", "--threads", "8"]
        names = {"api": serve} | {f"worker{number}": work for number in range(self._workers)}
        self.programs = [Program(name, command, environment, self.folder) for name, command in names.items()]
        for program in self.programs:
            program.start()

    async def _wait_until_ready(self) -> None:
        async with httpx.AsyncClient(base_url=self.url, trust_env=False) as client:
            await self.until(lambda: self._is_ready(client), START_TIMEOUT_S, "the service is not ready")

    async def _is_ready(self, client: httpx.AsyncClient) -> bool:
        for program in self.programs:
            if program.exit_codes:
                raise RuntimeError(f"{program.name} did not start: {program.words()}")
        if not all(program.events("worker_started") for program in self.workers):
            return False
        try:
            return (await client.get("/readyz")).is_success
        except httpx.TransportError:
            return False

    async def until(
        self, look: Callable[[], Any], within_s: float, otherwise: str = "nothing came of it"
    ) -> Any:
        """The first true answer of `look`, which may be a coroutine function.

        Raises:
            TimeoutError: There is none in time.
        """
        deadline = time.monotonic() + within_s
        while True:
            found = look()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return found
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name}: {otherwise} within {within_s:g} s")
            await asyncio.sleep(LOOK_S)

    # --- who does what ----------------------------------------------------------------------------------

    async def busiest(self, stage: str | None = None) -> tuple[Program, str]:
        """The worker with the most documents in hand (in a stage), and its process as leases name it."""

        async def look() -> tuple[Program, str] | None:
            for owner, _ in (await history.owners_in_hand(self.database, stage)).most_common():
                for program in self.workers:
                    if process_of(owner) in program.members():
                        return program, owner
            return None

        found: tuple[Program, str] = await self.until(look, 60, "no worker has anything in hand")
        return found

    @asynccontextmanager
    async def standing_still(
        self, choose: Callable[[], Awaitable[tuple[Program, str]]], *, stage: str | None = None
    ) -> AsyncIterator[Stopped]:
        """A worker that has documents in hand stands still, with all its processes, while the block lasts."""
        while True:
            program, owner = await choose()
            since = time.time()
            program.stand_still()
            try:
                if held := await history.held_by(self.database, owner, stage):
                    yield Stopped(program, held, since)
                    return
            finally:
                program.go_on()

    def worker_events(self, *names: str) -> list[dict[str, Any]]:
        return [event for worker in self.workers for event in worker.events(*names)]

    async def waiting_messages(self) -> int:
        return int(await self.redis.llen("sluice:default"))


def process_of(owner: str) -> int:
    """The process id in a lease's owner."""
    return int(owner.split(":")[-2])


def with_port(url: str, port: int) -> str:
    """The same address, on another port."""
    parts = urlsplit(url)
    return url.replace(f":{parts.port}/", f":{port}/", 1)
