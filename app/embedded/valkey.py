"""Valkey on a folder of ours, on the loopback interface, behind a generated password."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path

from app.embedded.binaries import valkey_server
from app.embedded.folder import (
    FolderInUse,
    write_secret,
)
from app.embedded.ports import LOOPBACK
from app.embedded.process import ServerProcess, works_in
from app.embedded.server import EmbeddedServer

PREDECESSOR_PATIENCE_S = 10.0
START_TIMEOUT_S = 60.0  # A long append-only file is read first.

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


class EmbeddedValkey(EmbeddedServer):
    """A Valkey server, which speaks Redis' protocol; arguments as for every `EmbeddedServer`."""

    name = "Valkey"
    file_stem = "valkey"
    clean_stop = signal.SIGTERM
    hard_stop = signal.SIGKILL

    @property
    def url(self) -> str:
        """Of logical database 0."""
        return self.url_for(0)

    def url_for(self, database: int) -> str:
        """Of one of the 16 logical databases."""
        if self._process is None:
            raise RuntimeError("the server has no address before start()")
        return f"redis://:{self._password}@{LOOPBACK}:{self.port}/{database}"

    def _start_locked(self) -> None:
        self._wait_for_predecessor()
        self._serve(self._serve_on_port)

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

    def _serve_on_port(self) -> ServerProcess:
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
        return self._ready(process, lambda: answers(self.port, self._password), START_TIMEOUT_S)


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
