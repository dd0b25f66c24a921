"""What the embedded servers have in common: a folder with a lock, a password, a port and a life."""

from __future__ import annotations

import signal
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from app.embedded.folder import FolderLock, kept_password, make_private_folder, troubles_told
from app.embedded.ports import free_port
from app.embedded.process import ServerProcess
from app.errors import StartupError

#: Between finding a free port and listening on it, somebody else may take it.
PORT_ATTEMPTS = 5


class EmbeddedServer(ABC):
    """A server that lives as long as this object's process, at most.

    Args:
        data_dir: Holds its data, the password (0600), the log and the lock. Made on first start.
        port: On 127.0.0.1; a free one when None.
    """

    name: ClassVar[str]  # For people.
    file_stem: ClassVar[str]  # Of its log and its password.
    clean_stop: ClassVar[signal.Signals]
    hard_stop: ClassVar[signal.Signals]  # For when the clean one takes too long.

    def __init__(self, data_dir: Path, port: int | None = None) -> None:
        self.data_dir = data_dir
        self.port = port or 0
        self._wants_any_port = port is None
        self._lock: FolderLock | None = None
        self._password = ""
        self._process: ServerProcess | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients find it, with the password."""

    @abstractmethod
    def _start_locked(self) -> None:
        """Serve the folder, which nobody else does; the server answers when this returns."""

    @property
    def log_path(self) -> Path:
        return self.data_dir / f"{self.file_stem}.log"

    @property
    def pid(self) -> int | None:
        """Of the running server."""
        return self._process.pid if self._process else None

    @property
    def exit_code(self) -> int | None:
        return self._process.exit_code if self._process else None

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
                self._password = kept_password(self.data_dir / f"{self.file_stem}.password")
                self._start_locked()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self, patience_s: float = 10) -> None:
        """Shut down cleanly, with everything on disk; if it will not, at once."""
        try:
            if self._process is not None:
                self._process.stop((self.clean_stop, patience_s), (self.hard_stop, 5.0))
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

    def _serve(self, serve_on_port: Callable[[], ServerProcess]) -> None:
        """Start the process on `self.port`, or on a free one; again, when somebody took that meanwhile."""
        for attempt in range(1, PORT_ATTEMPTS + 1):
            if self._wants_any_port:
                self.port = free_port()
            try:
                self._process = serve_on_port()
            except StartupError:
                taken = "already in use" in self.log_path.read_text(errors="replace")
                if not (self._wants_any_port and taken and attempt < PORT_ATTEMPTS):
                    raise
            else:
                return

    def _ready(self, process: ServerProcess, is_ready: Callable[[], bool], timeout_s: float) -> ServerProcess:
        """The process, once it answers; one that does not is stopped."""
        try:
            process.wait_until(is_ready, timeout_s=timeout_s)
        except BaseException:
            process.stop((self.clean_stop, 5.0), (self.hard_stop, 5.0))
            raise
        return process

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
