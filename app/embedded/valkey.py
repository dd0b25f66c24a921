"""Valkey on a folder of ours, on the loopback interface, behind a generated password."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from app.embedded.binaries import valkey_server
from app.embedded.folder import (
    FolderInUse,
    FolderLock,
    kept_password,
    make_private_folder,
    troubles_told,
    write_secret,
)
from app.embedded.ports import LOOPBACK, free_port
from app.embedded.process import ServerProcess, works_in
from app.errors import StartupError

PREDECESSOR_PATIENCE_S = 10.0
START_TIMEOUT_S = 60.0  # A long append-only file is read first.
PORT_ATTEMPTS = 5

# The password is in this file (0600), as command lines are for everyone to read. Jobs must never be evicted,
# and at most a second of them may be lost with the machine; Postgres remembers those.
CONFIGURATION = """\
bind {host}
port {port}
protected-mode yes
requirepass {password}
dir "{folder}"
pidfile "{pid_file}"
daemonize no
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
databases 16
tcp-backlog 128
"""


class EmbeddedValkey:
    """A Valkey server (Redis protocol) that lives as long as this object's process, at most.

    Args:
        data_dir: Holds the append-only file, the password (0600), the log and the lock. Made on first start.
        port: On 127.0.0.1; a free one when None.
    """

    name = "Valkey"

    def __init__(self, data_dir: Path, port: int | None = None) -> None:
        self.data_dir = data_dir
        self.port = port or 0
        self._wants_any_port = port is None
        self._lock: FolderLock | None = None
        self._password = ""
        self._process: ServerProcess | None = None

    @property
    def url(self) -> str:
        """Of logical database 0."""
        return self.url_for(0)

    def url_for(self, database: int) -> str:
        """Of one of the 16 logical databases."""
        if self._process is None:
            raise RuntimeError("the server has no address before start()")
        return f"redis://:{self._password}@{LOOPBACK}:{self.port}/{database}"

    @property
    def log_path(self) -> Path:
        return self.data_dir / "valkey.log"

    @property
    def pid(self) -> int | None:
        """Of the running server."""
        return self._process.pid if self._process else None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.exit_code is None

    def start(self) -> Self:
        """Serve the folder; returns when the server answers.

        Raises:
            FolderInUse: A living server has the folder already.
            StartupError: Anything else that keeps it from starting, in one sentence.
        """
        if self._process is not None:
            raise RuntimeError("started already")
        self.data_dir = make_private_folder(self.data_dir)
        self._lock = FolderLock(self.data_dir).acquire()
        try:
            with troubles_told(self.data_dir):
                self._password = kept_password(self.data_dir / "valkey.password")
                self._wait_for_predecessor()
                self._serve()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self, patience_s: float = 10) -> None:
        """Write out what is left and end."""
        try:
            if self._process is not None:
                self._process.stop((signal.SIGTERM, patience_s))
        finally:
            self._process = None
            if self._lock is not None:
                self._lock.release()
                self._lock = None

    def restart(self) -> Self:
        """Start again where the address was, after the server has died; clients find it as before."""
        self.stop()
        self._wants_any_port = False
        return self.start()

    @property
    def _pid_file(self) -> Path:
        return self.data_dir / "valkey.pid"

    def _wait_for_predecessor(self) -> None:
        """Two servers on one append-only file would ruin it: after a crash, let the old one end first."""
        deadline = time.monotonic() + PREDECESSOR_PATIENCE_S
        while self._pid_file.exists():
            words = self._pid_file.read_text().strip()
            pid = int(words) if words.isdigit() else 0
            if not works_in(pid, self.data_dir):
                self._pid_file.unlink(missing_ok=True)
                return
            if time.monotonic() > deadline:
                raise FolderInUse(self.data_dir, pid=pid, note="a Valkey server")
            time.sleep(0.05)

    def _serve(self) -> None:
        for attempt in range(1, PORT_ATTEMPTS + 1):
            if self._wants_any_port:
                self.port = free_port()
            try:
                return self._serve_on_port()
            except StartupError:
                taken = "already in use" in self.log_path.read_text(errors="replace")
                if not (self._wants_any_port and taken and attempt < PORT_ATTEMPTS):
                    raise
        return None

    def _serve_on_port(self) -> None:
        configuration = self.data_dir / "valkey.conf"
        write_secret(
            configuration,
            CONFIGURATION.format(
                host=LOOPBACK,
                port=self.port,
                password=self._password,
                folder=_quoted(self.data_dir),
                pid_file=_quoted(self._pid_file),
            ),
        )
        process = ServerProcess(
            [str(valkey_server()), str(configuration)],
            name=self.name,
            log_path=self.log_path,
            cwd=self.data_dir,
        )
        try:
            process.wait_until(lambda: answers(self.port, self._password), timeout_s=START_TIMEOUT_S)
        except BaseException:
            process.stop((signal.SIGTERM, 5.0))
            raise
        self._process = process

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def answers(port: int, password: str) -> bool:
    """Whether *our* server is there and done with loading: it takes the password and says PONG."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1) as connection:
            connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            answer = b""
            while answer.count(b"\r\n") < 2 and (part := connection.recv(1024)):
                answer += part
    except OSError:
        return False
    return answer == b"+OK\r\n+PONG\r\n"


def _quoted(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace('"', '\\"')
