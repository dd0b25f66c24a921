"""A server process of ours: started so that it dies with us, stopped step by step, its log at hand."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from app.embedded.folder import troubles_told
from app.errors import StartupError

GUARD = Path(__file__).with_name("guard.py")
POLL_S = 0.01

#: Words of lines that say why.
TELLING = ("FATAL", "PANIC", "rror", "annot", "unexpectedly")


@dataclass(frozen=True)
class User:
    """Whom a process runs as, when not as ourselves."""

    uid: int
    gid: int


class ServerProcess:
    """A child in a session of its own, so that Ctrl-C in the terminal reaches only us and we keep the order.

    Args:
        command: Program and arguments.
        name: What people call it: "PostgreSQL".
        log_path: Where its output goes; the last run's log is kept beside it as `.1`.
        last_wish: The signal that the kernel sends it when this process dies.
        environment: Replaces ours.
        user: Drop root for this user.
        stdin: What it reads; nothing by default.
        has_children: It starts processes of its own and may leave them behind; a guard stays above it.
        keep_open: Descriptors that the child inherits under the same numbers.
        cwd: Its working folder.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        name: str,
        log_path: Path,
        last_wish: signal.Signals = signal.SIGTERM,
        environment: Mapping[str, str] | None = None,
        user: User | None = None,
        stdin: int = subprocess.DEVNULL,
        keep_open: Sequence[int] = (),
        cwd: Path | None = None,
        has_children: bool = False,
    ) -> None:
        self.name = name
        self.log_path = log_path
        with troubles_told(log_path.parent):
            rotate(log_path)
            log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._process = spawn(
                command,
                last_wish=last_wish,
                user=user,
                stdin=stdin,
                stdout=log,
                stderr=log,
                env=environment,
                pass_fds=keep_open,
                cwd=cwd,
                above=has_children,
            )
        finally:
            os.close(log)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative for the signal that ended it."""
        has_been_seen = self._process.returncode is not None
        code = self._process.poll()
        if code is not None and not has_been_seen:
            self.signal_group(signal.SIGKILL)  # What it left behind: nobody else would stop that.
        return code

    def wait_until(self, is_ready: Callable[[], bool], *, timeout_s: float) -> None:
        """Wait for readiness.

        Raises:
            StartupError: It ended first, or the time is up; with the reason its log gives.
        """
        deadline = time.monotonic() + timeout_s
        while not is_ready():
            if self.exit_code is not None:
                raise StartupError(f"{self.name} did not start: {reason_in(self.log_path)}")
            if time.monotonic() > deadline:
                raise StartupError(f"{self.name} is not ready after {timeout_s:g} s; see {self.log_path}.")
            time.sleep(POLL_S)

    def signal_group(self, signal_number: signal.Signals) -> None:
        """Signal it and everything it started, also after it has died and left some behind."""
        with suppress(ProcessLookupError, PermissionError):  # Gone, or (macOS) a zombie.
            os.killpg(self._process.pid, signal_number)

    def wait(self, timeout_s: float | None = None) -> int:
        """Its exit code, once it has ended.

        Raises:
            subprocess.TimeoutExpired: It has not ended in time.
        """
        return self._process.wait(timeout_s)

    def stop(self, *ladder: tuple[signal.Signals, float]) -> None:
        """Send each signal and wait its seconds, until the process is gone; then make sure of its group."""
        for signal_number, patience_s in ladder:
            if self.exit_code is not None:
                break
            self._process.send_signal(signal_number)
            try:
                self._process.wait(patience_s)
            except subprocess.TimeoutExpired:
                continue
        self.signal_group(signal.SIGKILL)
        self._process.wait()


def rotate(log_path: Path) -> None:
    """Keep the log of the last run, and of no other."""
    if log_path.exists():
        log_path.replace(log_path.with_name(f"{log_path.name}.1"))


def reason_in(log_path: Path) -> str:
    """The line of a log that says why a server gave up, without its time stamp."""
    try:
        lines = log_path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    said = [line.strip() for line in lines if line.strip()]
    telling = [line for line in said if any(word in line for word in TELLING)]
    if not said:
        return f"it said nothing; its log would be {log_path}."
    line = (telling or said)[-1]
    for marker in ("FATAL:  ", "PANIC:  ", " # "):
        line = line.rpartition(marker)[2]
    return f"{line.rstrip('.')} (more in {log_path})."


def is_alive(pid: int) -> bool:
    """Whether a process of this id runs; a zombie does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # It belongs to another user.
    return not _is_zombie(pid)


def works_in(pid: int, folder: Path) -> bool:
    """Whether this living process has `folder` as its working folder, as both servers do with their data.

    A pid in a file left by a crash may belong to anybody by now; this tells.
    """
    if not is_alive(pid):
        return False
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == folder.resolve()
    except OSError:
        return not Path("/proc/self").exists()  # No /proc (macOS): believe the file.


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False


# --- Starting a process whose life hangs on ours ------------------------------------------------------------

_requests: queue.SimpleQueue[tuple[Callable[[], subprocess.Popen[bytes]], Future[subprocess.Popen[bytes]]]]
_requests = queue.SimpleQueue()
_spawner_lock = threading.Lock()
_spawner: threading.Thread | None = None


def spawn(
    command: Sequence[str],
    *,
    last_wish: signal.Signals,
    user: User | None = None,
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    cwd: Path | None = None,
    above: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a process, in a new session, that gets the signal `last_wish` when this process dies.

    With `above`, that kills the process and everything below it (see guard.py).
    """
    manner = "above" if above else "become"
    identity = f"{user.uid}:{user.gid}" if user else "-"
    guard = [sys.executable, "-I", "-S", str(GUARD), manner, str(os.getpid()), str(int(last_wish)), identity]

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603  # The command is ours, and no shell is wanted.
            [*guard, *command],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=env,
            pass_fds=pass_fds,
            cwd=cwd,
            start_new_session=True,
        )

    if threading.current_thread() is threading.main_thread():
        return start()
    return _in_lasting_thread(start)


def _in_lasting_thread(start: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    """Run `start` in a thread that lives as long as the process.

    The kernel sends the last wish when the *thread* that forked ends: a server started from a worker thread
    (asyncio.to_thread, a test plugin) would otherwise be stopped as soon as that thread is done.
    """
    global _spawner  # noqa: PLW0603  # One thread per process, made when it is first needed.
    with _spawner_lock:
        if _spawner is None or not _spawner.is_alive():
            _spawner = threading.Thread(target=_serve_requests, name="sluice-spawner", daemon=True)
            _spawner.start()
    answer: Future[subprocess.Popen[bytes]] = Future()
    _requests.put((start, answer))
    return answer.result()


def _serve_requests() -> None:
    while True:
        start, answer = _requests.get()
        try:
            answer.set_result(start())
        except BaseException as error:  # It belongs to the thread that asked.
            answer.set_exception(error)
