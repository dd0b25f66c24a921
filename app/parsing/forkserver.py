"""A small process that has loaded every parser and does nothing but fork parser children.

multiprocessing has a fork server too, but it imports the caller's `__main__` (here: dramatiq's command line)
into each child, needs a second process to track resources, and its children outlive a killed worker. This one
is started by `python -c` with the search path as an argument, so it sees nothing of the worker but one
socket. When that socket closes, however its other end died, everything here ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import resource
import select
import signal
import socket
import sys
from dataclasses import asdict, dataclass
from typing import NoReturn

from app.parsing import cage, wire
from app.parsing.child import serve
from app.parsing.registry import preload
from app.parsing.wire import COMMAND, FORK

_PR_SET_PDEATHSIG = 1
_MAX_STDERR_BYTES = 64 * 1024
_SHOWN_STDERR_CHARS = 1_000
_STDERR = 2
# `select` knows no more; and where a process may open a billion, to close them all could take minutes.
_MAX_OPEN_FILES = 1024


@dataclass(slots=True)
class _Child:
    number: int
    stderr: int  # A file in memory: what a C library says before it aborts.


def main(control_fd: int, parent_pid: int, limits: wire.Limits) -> None:
    """Run until the pool hangs up."""
    _die_with_parent(parent_pid)
    _reset_signals()
    control = _limit_open_files(control_fd)
    preload()
    gc.collect()
    gc.freeze()  # The collector would otherwise write to pages that all children share.
    _ForkServer(control, limits).run()


def _limit_open_files(control_fd: int) -> socket.socket:
    """The connection to the pool, below the limit, whatever number it had in a worker with many files."""
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY or limit > _MAX_OPEN_FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (_MAX_OPEN_FILES, most))
    control = socket.socket(fileno=os.dup(control_fd))
    os.close(control_fd)
    return control


def _die_with_parent(parent_pid: int) -> None:
    """The kernel kills this process when its parent dies; also when that happened a moment ago."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(0)


def _reset_signals() -> None:
    """Ctrl-C and SIGTERM to the whole group are the worker's business: it decides when to let go of us."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


class _ForkServer:
    def __init__(self, control: socket.socket, limits: wire.Limits) -> None:
        self.control = control
        self.limits = limits
        self.pid = os.getpid()
        self.children: dict[int, _Child] = {}  # By process id.
        self.layers = cage.find_layers()
        self.wakeup, self.wakeup_writer = os.pipe()

    def run(self) -> None:
        for fd in (self.wakeup, self.wakeup_writer):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(self.wakeup_writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._tell({"event": "ready", "layers": asdict(self.layers)})
        with contextlib.suppress(ConnectionError):
            while self._step():
                pass
        self._kill_all()

    def _step(self) -> bool:
        """Wait for one thing to happen; False when the pool has hung up."""
        readable, _, _ = select.select([self.control.fileno(), self.wakeup], [], [])
        if self.wakeup in readable:
            with contextlib.suppress(BlockingIOError):
                os.read(self.wakeup, 4096)
            self._reap()
        return self.control.fileno() not in readable or self._obey()

    def _obey(self) -> bool:
        data, fds, _, _ = socket.recv_fds(self.control, COMMAND.size, 1)
        if len(data) < COMMAND.size:
            return False
        command, number = COMMAND.unpack(data)
        if command == FORK:
            self._fork(number, fds[0])
        else:
            self._kill(number)
        return True

    def _fork(self, number: int, connection_fd: int) -> None:
        stderr = _file_in_memory()
        try:
            pid = os.fork()
        except OSError as error:
            os.close(stderr)
            self._tell(
                {
                    "event": "exit",
                    "child": number,
                    "status": 1,
                    "peak_kib": 0,
                    "reason": f"fork: {error.strerror}",
                }
            )
        else:
            if pid == 0:
                self._become_child(connection_fd, stderr)
            self.children[pid] = _Child(number, stderr)
            self._tell({"event": "forked", "child": number, "pid": pid})
        finally:
            os.close(connection_fd)

    def _become_child(self, connection_fd: int, stderr: int) -> NoReturn:
        """Keep nothing of the server but the loaded parsers, then serve; never return into its loop."""
        status = 1
        try:
            cage.change_user(self.layers)
            _die_with_parent(self.pid)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(stderr, _STDERR)
            _close_all_but(connection_fd)
            with socket.socket(fileno=connection_fd) as connection, contextlib.suppress(ConnectionError):
                serve(connection, self.limits, self.layers)
            status = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(status)

    def _kill(self, number: int) -> None:
        """By number, not by process id: only this process knows whether an id is still that child's."""
        for pid, child in self.children.items():
            if child.number == number:
                os.kill(pid, signal.SIGKILL)

    def _reap(self) -> None:
        while self.children:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
            if pid == 0:
                return
            child = self.children.pop(pid)
            words = _last_words(child.stderr)
            self._tell(
                {
                    "event": "exit",
                    "child": child.number,
                    "status": os.waitstatus_to_exitcode(status),
                    "peak_kib": usage.ru_maxrss,
                    "reason": words,
                }
            )

    def _kill_all(self) -> None:
        for pid in self.children:
            os.kill(pid, signal.SIGKILL)
        for pid in self.children:
            os.waitpid(pid, 0)

    def _tell(self, event: dict[str, object]) -> None:
        self.control.sendall(json.dumps(event).encode("ascii") + b"\n")


def _close_all_but(fd: int) -> None:
    """And but for the standard streams; closes also what a library or a mistake has left open."""
    os.closerange(_STDERR + 1, fd)
    os.closerange(fd + 1, _MAX_OPEN_FILES)


def _file_in_memory() -> int:
    return os.memfd_create("parser-stderr") if sys.platform == "linux" else os.open(os.devnull, os.O_RDWR)


def _last_words(fd: int) -> str:
    """What a child wrote before it died; of much only beginning (of C libraries) and end (of tracebacks)."""
    words = os.pread(fd, _MAX_STDERR_BYTES, 0).decode("utf-8", "replace")
    os.close(fd)
    if len(words) <= 2 * _SHOWN_STDERR_CHARS:
        return words
    return f"{words[:_SHOWN_STDERR_CHARS]} […] {words[-_SHOWN_STDERR_CHARS:]}"
