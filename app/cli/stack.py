"""The whole service on one machine: servers, migrations, API and workers, started and stopped in order."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

import httpx

from app.cli.log_follower import LogFollower
from app.cli.supervisor import Child, Supervisor
from app.core import wording
from app.core.config import Settings, get_settings
from app.embedded import EmbeddedPostgres, EmbeddedValkey, FolderLock, ServerProcess, is_port_free
from app.embedded.folder import make_private_folder
from app.embedded.process import POLL_S, reason_in
from app.errors import StartupError

READY_TIMEOUT_S = 120.0
API_PATIENCE_S = 8.0
WORKER_PATIENCE_S = 25.0
EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104  # Read, not bound.


class StopRequested(KeyboardInterrupt):
    """Ctrl-C or SIGTERM. An interrupt by kind, as asyncio hands only those through from a callback."""


@dataclass(frozen=True, kw_only=True)
class StackOptions:
    """What `up` and `demo` can be told."""

    data: Path
    host: str
    port: int
    workers: int
    verbose: bool = False

    @property
    def is_local(self) -> bool:
        """Whether nobody on another machine reaches the API."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def url(self) -> str:
        """Where a client on this machine finds the API."""
        host = EVERY_ADDRESS.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"


class Program:
    """The API or the workers: a command of ours that can be started again as it was."""

    def __init__(self, name: str, command: Sequence[str], *, log_path: Path, patience_s: float) -> None:
        self.name = name
        self.log_path = log_path
        self.patience_s = patience_s
        self.environment: Mapping[str, str] = {}
        self._command = list(command)
        self._process: ServerProcess | None = None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.exit_code is None

    @property
    def exit_code(self) -> int | None:
        return self._process.exit_code if self._process else None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> Self:
        self._process = ServerProcess(
            self._command,
            name=self.name,
            log_path=self.log_path,
            # When we die the servers go, too: nothing could be finished, so all is killed. A SIGTERM would
            # not do, as the kernel may send it twice, and Dramatiq's processes hang on a second one.
            last_wish=signal.SIGHUP,
            environment=self.environment,
            has_children=True,
        )
        return self

    def restart(self) -> Self:
        """Clear away what the dead one left (Dramatiq's processes outlive their master), then start."""
        self.stop()
        return self.start()

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop((signal.SIGTERM, self.patience_s))
            self._process = None

    def kill(self) -> None:
        if self._process is not None:
            self._process.signal_group(signal.SIGKILL)


class Stack:
    """Use as a context manager: inside the block the service answers, after it everything is down.

    Raises:
        StartupError: Something keeps it from starting; what had been started is stopped again.
        StopRequested: Ctrl-C or SIGTERM, at any moment inside the block.
    """

    def __init__(self, options: StackOptions, say: Callable[[str], None]) -> None:
        self.options = options
        self.settings: Settings = get_settings()
        self._say = say
        self._given = self.settings.model_fields_set
        self._lock: FolderLock | None = None
        self._postgres: EmbeddedPostgres | None = None
        self._valkey: EmbeddedValkey | None = None
        self._programs: list[Program] = []
        self._supervisor: Supervisor | None = None
        self._follower: LogFollower | None = None
        self._stop_requests = 0

    def __enter__(self) -> Self:
        self._handlers = {
            number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            self._start()
        except BaseException:
            self._shut_down()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._shut_down()

    def wait(self) -> None:
        """Serve until somebody asks to stop."""
        while True:
            signal.pause()

    # --- Starting ---------------------------------------------------------------------------------------

    def _start(self) -> None:
        data = make_private_folder(self.options.data)
        self._lock = FolderLock(data).acquire(self.options.url)
        require_port(self.options.host, self.options.port)
        self._say(f"Sluice on {data}")
        self._start_servers(data)
        with self._step("Tables") as told:
            applied = asyncio.run(self._migrate())
            told.append(f"{wording.count(len(applied), 'migration')} applied" if applied else "up to date")
        with self._step("API and workers") as told:
            self._start_programs(data)
            told.append(wording.count(self.options.workers, "worker process", "worker processes"))
        children: list[Child] = [*self._programs]
        children += [server for server in (self._postgres, self._valkey) if server is not None]
        self._supervisor = Supervisor(children, say_error)
        self._supervisor.start()

    async def _migrate(self) -> list[str]:
        # Tortoise and aerich take half a second to import, and the other commands need neither.
        from app.core import database  # noqa: PLC0415

        try:
            return await database.migrate(self.settings)
        except StartupError as error:
            if self._postgres is not None:
                raise
            hint = (
                "DATABASE_URL is set, in the environment or .env: without it, Sluice brings its own database."
            )
            raise StartupError(f"{error} {hint}") from error

    def _start_servers(self, data: Path) -> None:
        """Start the servers that no setting names, and put their addresses into the settings."""
        found: dict[str, object] = {}
        if "DATABASE_URL" not in self._given:
            with self._step("PostgreSQL") as told:
                self._postgres = EmbeddedPostgres(data / "postgres").start()
                found["DATABASE_URL"] = self._postgres.url
                told.append(f"port {self._postgres.port}")
        if "REDIS_URL" not in self._given:
            with self._step("Valkey") as told:
                self._valkey = EmbeddedValkey(data / "valkey").start()
                found["REDIS_URL"] = self._valkey.url
                told.append(f"port {self._valkey.port}")
        if "STORAGE_URL" not in self._given:
            found["STORAGE_URL"] = f"file://{data / 'content'}"
        if "MODEL_CACHE_DIR" not in self._given:
            found["MODEL_CACHE_DIR"] = data / "models"
        self.settings = self.settings.model_copy(update=found)

    def _start_programs(self, data: Path) -> None:
        logs = make_private_folder(data / "logs")
        options = self.options
        api = ["uvicorn", "app.main:app", "--host", options.host, "--port", str(options.port)]
        # Requests that wait for a document would hold the shutdown up; their clients ask again.
        api += ["--no-access-log", "--timeout-graceful-shutdown", "5"]
        # Of uvicorn's two, this one bounds the head of a request; an older `.venv` may have both.
        api += ["--http", "h11"]
        workers = ["dramatiq", "app.jobs.ingestion_job", "--processes", str(options.workers)]
        workers += ["--threads", "8"]
        python = [sys.executable, "-m"]
        self._programs = [
            Program("The API", python + api, log_path=logs / "api.log", patience_s=API_PATIENCE_S),
            Program(
                "The worker", python + workers, log_path=logs / "worker.log", patience_s=WORKER_PATIENCE_S
            ),
        ]
        for program in self._programs:
            program.environment = self._environment()
            program.start()
        if options.verbose:
            self._follower = LogFollower([program.log_path for program in self._programs], say_error)
            self._follower.start()
        self._wait_until_ready()

    def _environment(self) -> dict[str, str]:
        """Ours, with the addresses; the password of the database is in no command line."""
        settings = self.settings
        return {
            **os.environ,
            "DATABASE_URL": settings.DATABASE_URL,
            "REDIS_URL": settings.REDIS_URL,
            "STORAGE_URL": settings.STORAGE_URL,
            "MODEL_CACHE_DIR": str(settings.MODEL_CACHE_DIR),
            "PYTHONUNBUFFERED": "1",
        }

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        answer = "no answer yet"
        # A proxy of the environment is none for this machine.
        with httpx.Client(base_url=self.options.url, trust_env=False, timeout=5) as client:
            while True:
                for program in self._programs:
                    if not program.is_running:
                        raise StartupError(f"{program.name} did not start: {reason_in(program.log_path)}")
                try:
                    response = client.get("/readyz")
                    if response.is_success:
                        return
                    answer = response.text[:300]
                except httpx.HTTPError:
                    pass  # It does not listen yet.
                if time.monotonic() > deadline:
                    raise StartupError(f"The API is not ready after {READY_TIMEOUT_S:g} s: {answer}")
                time.sleep(POLL_S)

    @contextmanager
    def _step(self, name: str) -> Iterator[list[str]]:
        begun = time.monotonic()
        told: list[str] = []
        yield told
        self._say(f"  {name:17}{', '.join(told):26}{time.monotonic() - begun:5.1f} s")

    # --- Stopping ---------------------------------------------------------------------------------------

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  # The shape is given.
        self._stop_requests += 1
        if self._stop_requests == 1:
            raise StopRequested
        # Asked again while we stop: the documents in hand are taken up by the next worker, as after a crash.
        for program in self._programs:
            program.kill()

    def _shut_down(self) -> None:
        """No new requests, then no work, then the servers that both need."""
        self._stop_requests = max(self._stop_requests, 1)  # From now on a signal means: hurry.
        if self._supervisor is not None:
            self._supervisor.stop()
        try:
            for program in self._programs:
                program.stop()
        finally:
            for server in (self._valkey, self._postgres):
                if server is not None:
                    server.stop()
            if self._follower is not None:
                self._follower.stop()
            if self._lock is not None:
                self._lock.release()
            for number, handler in self._handlers.items():
                signal.signal(number, handler)


def require_port(host: str, port: int) -> None:
    """Say so before anything is started.

    Raises:
        StartupError: The port is taken, or the address is not ours.
    """
    try:
        free = is_port_free(port, host)
    except (OSError, socket.gaierror) as error:
        if isinstance(error, PermissionError):
            raise StartupError(f"Port {port} is only for root: choose one above 1023 by --port.") from error
        raise StartupError(f"{host} is no address of this machine: {error.strerror or error}.") from error
    if not free:
        raise StartupError(f"Port {port} of {host} is taken: stop what uses it, or choose another by --port.")


def say_error(text: str) -> None:
    """For things that go on beside the main course."""
    print(text, file=sys.stderr, flush=True)


def default_workers() -> int:
    """A process per core, as embedding takes one each, and no more than four: each has a model in memory."""
    return max(1, min(4, os.cpu_count() or 1))
