"""What a parser would do that a hostile file has taken over; runs in the tests' own parser children.

The document names what to try, and becomes a text that tells how it went. Nothing of the app leads here: the
fork server is started by a program that puts this parser of plain text in place of the app's.
"""

# ruff: noqa: PTH101, PTH102, PTH104, PTH108, PTH109, PTH115, PTH116, PTH208, PTH211
# The calls themselves are meant, not what pathlib makes of them.

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import mmap
import os
import resource
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from app.parsing.text_builder import TextBuilder

_libc = ctypes.CDLL(None, use_errno=True)


def document(breach: str, **arguments: object) -> str:
    """What to send, so that `breach` is tried."""
    return f"Breach\n{json.dumps({'breach': breach, **arguments})}\n"


def parse(file: BinaryIO, builder: TextBuilder) -> None:
    asked = json.loads(file.read().splitlines()[1])
    try:
        told = str(BREACHES[asked.pop("breach")](file, **asked))
    except OSError as error:
        told = f"refused: {errno.errorcode[error.errno or 0]}"
    except RuntimeError as error:  # "can't start new thread"
        told = f"refused: {error}"
    builder.paragraph(told or "done")


def call(name: str, *arguments: Any) -> int:
    result: int = getattr(_libc, name)(*arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result


def connect(address: Any, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM) -> None:
    with socket.socket(family, kind) as client:
        client.connect(tuple(address) if isinstance(address, list) else address)
        client.send(b"hello")


def bind() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()


def write(path: str, flags: int) -> None:
    os.write(os.open(path, os.O_WRONLY | flags), b"breached")


def spawn(path: str) -> int:
    return subprocess.call(["/bin/sh", "-c", f"echo breached > {path}"])


def fork() -> int:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    return pid


def thread() -> None:
    started = threading.Thread(target=int)
    started.start()
    started.join()


def give_signals_to(pid: int, connection: int = 3) -> None:
    fcntl.fcntl(connection, fcntl.F_SETOWN, pid)


def open_numbers() -> list[int]:
    def is_open(number: int) -> bool:
        try:
            return fcntl.fcntl(number, fcntl.F_GETFD) >= 0
        except OSError:
            return False

    return [number for number in range(4096) if is_open(number)]


def burn() -> None:
    while True:
        pass


def eat() -> int:
    eaten = []
    while True:
        eaten.append(bytes(1 << 24))


def raw(number: int) -> int:
    return call("syscall", ctypes.c_long(number), 0, 0, 0, 0, 0, 0)


def fork_without_end() -> None:
    while True:
        os.fork()


BREACHES: dict[str, Callable[..., object]] = {
    "nothing": lambda _: "done",
    # The network.
    "connect over TCP": lambda _, address: connect(address),
    "send over UDP": lambda _, address: connect(address, kind=socket.SOCK_DGRAM),
    "connect to a socket in the file system": lambda _, path: connect(path, socket.AF_UNIX),
    "connect to an abstract socket": lambda _, name: connect("\0" + name, socket.AF_UNIX),
    "listen": lambda _: bind(),
    "make a pair of sockets": lambda _: socket.socketpair(),
    # Processes.
    "run a program": lambda _, path: spawn(path),
    "become a program": lambda _: os.execv("/bin/true", ["true"]),
    "spawn": lambda _: os.posix_spawn("/bin/true", ["true"], {}),
    "run a command": lambda _, path: os.system(f"echo breached > {path}"),
    "fork": lambda _: fork(),
    "fork bomb": lambda _: fork_without_end(),
    "start a thread": lambda _: thread(),
    "trace the parent": lambda _: call("ptrace", 16, os.getppid(), 0, 0),
    "kill the parent": lambda _: os.kill(os.getppid(), signal.SIGKILL),
    "kill a process": lambda _, pid: os.kill(pid, signal.SIGKILL),
    "kill a thread of another": lambda _, pid: call("tgkill", pid, pid, signal.SIGKILL),
    "have signals sent": lambda _, pid: give_signals_to(pid),
    "see the parent's environment": lambda _: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
    "see the parent's memory": lambda _: call("process_vm_readv", os.getppid(), 0, 0, 0, 0, 0),
    # Files.
    "read": lambda _, path: Path(path).read_text(),
    "see that there is": lambda _, path: os.stat(path),
    "list": lambda _, path: os.listdir(path),
    "follow a link": lambda _, path: os.readlink(path),
    "know the working folder": lambda _: os.getcwd(),
    "make": lambda _, path: write(path, os.O_CREAT | os.O_EXCL),
    "write": lambda _, path: write(path, 0),
    "append": lambda _, path: write(path, os.O_APPEND),
    "empty by opening": lambda _, path: os.open(path, os.O_RDONLY | os.O_TRUNC),
    "truncate": lambda _, path: os.truncate(path, 0),
    "rename": lambda _, path: os.rename(path, path + ".breached"),
    "remove": lambda _, path: os.unlink(path),
    "change the mode": lambda _, path: os.chmod(path, 0o777),
    "change the time": lambda _, path: os.utime(path, (0, 0)),
    "make a folder": lambda _, path: os.mkdir(path),
    "make a link": lambda _, path: os.symlink("/", path),
    "make a hard link": lambda _, path: os.link(path, path + ".breached"),
    "make a pipe": lambda _, path: os.mkfifo(path),
    "make a file in memory": lambda _: os.memfd_create("breached"),
    "write to the document": lambda file: os.write(file.fileno(), b"breached"),
    "open the document for writing": lambda file: os.open(f"/proc/self/fd/{file.fileno()}", os.O_RDWR),
    "truncate the document": lambda file: os.ftruncate(file.fileno(), 0),
    "change the mode of the document": lambda file: os.fchmod(file.fileno(), 0o777),
    "lock the document": lambda file: fcntl.flock(file, fcntl.LOCK_EX),
    # Itself and the kernel.
    "map new code": lambda _: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC),
    "make memory run": lambda _: call("mprotect", ctypes.c_void_p(mmap.PAGESIZE * 16), mmap.PAGESIZE, 5),
    "load a module": lambda _: __import__("pydoc_data.topics"),
    "have more memory": lambda _: resource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40)),
    "be root": lambda _: os.setuid(0),
    "be in another namespace": lambda _: call("unshare", 0x10000000),
    "mount": lambda _: call("mount", b"none", b"/mnt", b"tmpfs", 0, None),
    "change the clock": lambda _: call("clock_settime", 0, (ctypes.c_long * 2)()),
    "make a call by its number": lambda _, number: raw(number),
    # Limits, and what was left behind.
    "burn": lambda _: burn(),
    "eat": lambda _: eat(),
    "abort": lambda _: os.abort(),
    "read nowhere": lambda _: ctypes.string_at(0),
    "open numbers": lambda _: open_numbers(),
    "environment": lambda _: sorted(os.environ),
    "who": lambda _: [os.getuid(), os.geteuid(), os.getgid(), os.getegid()],
    "die": lambda _: os.kill(os.getpid(), signal.SIGKILL),
}
