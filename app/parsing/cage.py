"""The walls around a parser child: whoever takes it over by a hostile file can compute, and answer, no more.

A child needs its connection and the file at hand, which reaches it open. Everything else the kernel refuses
it, in layers, so that one that is missing or has a hole leaves the others:

- `own_user`: where the service runs as root, the child is a user to whom no file and no process belongs.
- `landlock`: no file can be opened, made or removed, no TCP port reached, no other process signalled.
- `seccomp`: only the calls of syscalls.py, so neither file names nor sockets, processes or new code. What
  libraries ask for in vain (fonts, time zones) is refused; what only an attacker asks for kills the child.

Why the kernel's interface and no library: docs/decisions/0010-the-parser-cage.md.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import platform
import resource
import struct
import sys
from collections.abc import Callable
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from app.parsing import syscalls

# Below 65534 ("nobody", as whom others run, the embedded PostgreSQL too), assigned by neither Debian nor
# systemd, and small enough to exist in most containers without root.
_NOBODY_ELSE = 65533

_PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 4, 22, 38
_SECCOMP_MODE_FILTER = 2


@dataclass(frozen=True, slots=True)
class Layers:
    """Which of them hold."""

    own_user: bool = False
    landlock: int = 0  # The version of its interface; 0 where the kernel has none.
    seccomp: bool = False


def find_layers() -> Layers:
    """Which layers kernel, container and user allow: tried by a process that is then thrown away."""
    if sys.platform != "linux":
        return Layers()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            os.write(writer, bytes(astuple(_try_layers())))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        found = answer.read()
    os.waitpid(pid, 0)
    if len(found) != len(fields(Layers)):
        return Layers()
    return Layers(own_user=bool(found[0]), landlock=found[1], seccomp=bool(found[2]))


def _try_layers() -> Layers:
    own_user = os.geteuid() == 0 and _holds(_change_user, lambda: os.seteuid(0))
    _give_up_privileges()
    version = _landlock_version()
    landlock = version > 0 and _holds(lambda: _forbid_files(version), lambda: os.open("/", os.O_RDONLY))
    # Landlock leaves `stat` alone.
    seccomp = platform.machine() in _AUDITED and _holds(_filter_calls, Path("/").stat)
    return Layers(own_user, version * landlock, seccomp)


def _holds(close: Callable[[], None], attempt: Callable[[], object]) -> bool:
    try:
        close()
    except OSError:
        return False
    try:
        attempt()
    except PermissionError:
        return True
    return False


def change_user(layers: Layers) -> None:
    """First of all: it undoes what the kernel was told about the death of the parent.

    Raises:
        OSError: It is refused, although it was not before.
    """
    if layers.own_user:
        _change_user()


def lock(layers: Layers) -> None:
    """Close everything that holds, for good. Whatever this process will need has to be loaded and open.

    Raises:
        OSError: A layer cannot be closed, although it could before.
    """
    if sys.platform != "linux":
        return
    _give_up_privileges()
    if layers.landlock:
        _forbid_files(layers.landlock)
    if layers.seccomp:
        _filter_calls()


# --- The user ----------------------------------------------------------------------------------------------


def _change_user() -> None:
    os.setgroups([])
    os.setresgid(_NOBODY_ELSE, _NOBODY_ELSE, _NOBODY_ELSE)
    os.setresuid(_NOBODY_ELSE, _NOBODY_ELSE, _NOBODY_ELSE)


def _give_up_privileges() -> None:
    """No capabilities, also where the user could not be changed; no program can bring any back."""
    _call("capset", struct.pack("=Ii", 0x20080522, 0), bytes(24))
    _call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    # Nobody of the same user may look into the document, or take this process over.
    _call("prctl", _PR_SET_DUMPABLE, 0, 0, 0, 0)


# --- Landlock ----------------------------------------------------------------------------------------------

# The same on all machines.
_CREATE_RULESET, _RESTRICT_SELF = 444, 446
_ASK_FOR_VERSION = 1
# Version of the interface → all rights over files that it knows. What is named and not granted is refused.
_FILE_RIGHTS = {1: 1 << 13, 2: 1 << 14, 3: 1 << 15, 5: 1 << 16}
_TCP_RIGHTS = 0b11  # To bind, to connect.
_SCOPES = 0b11  # Abstract sockets of others, signals to others.


def _landlock_version() -> int:
    try:
        return _call("syscall", _CREATE_RULESET, None, 0, _ASK_FOR_VERSION)
    except OSError:
        return 0


def _forbid_files(version: int) -> None:
    files = max(rights for since, rights in _FILE_RIGHTS.items() if since <= version) - 1
    # A kernel that does not know the later fields takes them as long as they are zero.
    wishes = struct.pack("=QQQ", files, _TCP_RIGHTS * (version >= 4), _SCOPES * (version >= 6))
    ruleset = _call("syscall", _CREATE_RULESET, wishes, len(wishes), 0)
    try:
        _call("syscall", _RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


# --- seccomp -----------------------------------------------------------------------------------------------

_AUDITED = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_CALLS = 0x40000000  # A second table of numbers on x86_64, with the same calls.

_Instruction = tuple[int, int, int, int]  # Operation, jumps when true and when false, operand.
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _MACHINE_AT, _ARGUMENTS_AT = 0, 4, 16

_ALLOW: _Instruction = (_RETURN, 0, 0, 0x7FFF0000)
_KILL: _Instruction = (_RETURN, 0, 0, 0x80000000)
# Python and the C library take this for a file that they may not read, and go on without it.
_REFUSE: _Instruction = (_RETURN, 0, 0, 0x00050000 | errno.EACCES)
_NO_TERMINAL: _Instruction = (_RETURN, 0, 0, 0x00050000 | errno.ENOTTY)
_UNKNOWN: _Instruction = (_RETURN, 0, 0, 0x00050000 | errno.ENOSYS)

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_F_DUPFD_CLOEXEC = 1030
# Not F_SETOWN, by which the kernel would send signals to others.
_HARMLESS_FCNTLS = (1, 2, 3, _F_DUPFD_CLOEXEC)  # F_GETFD, F_SETFD, F_GETFL.


def _argument(index: int) -> _Instruction:
    """Its lower half: the kernel looks at no more of any argument that is judged here."""
    return (_LOAD, 0, 0, _ARGUMENTS_AT + 8 * index)


def _when(operation: int, operand: int, verdict: _Instruction) -> list[_Instruction]:
    return [(operation, 0, 1, operand), verdict]


def _judgements(pid: int) -> dict[str, list[_Instruction]]:
    may_run = [_argument(2), *_when(_IF_ANY_BIT, mmap.PROT_EXEC, _REFUSE), _ALLOW]
    return {
        "open": [_argument(1), *_when(_IF_ANY_BIT, _WRITING, _KILL), _REFUSE],
        "openat": [_argument(2), *_when(_IF_ANY_BIT, _WRITING, _KILL), _REFUSE],
        # Everything that runs is loaded; new code would be an attacker's.
        "mmap": may_run,
        "mprotect": may_run,
        "fcntl": [
            _argument(1),
            *(line for harmless in _HARMLESS_FCNTLS for line in _when(_IF_EQUAL, harmless, _ALLOW)),
            _REFUSE,
        ],
        "ioctl": [_NO_TERMINAL],
        # The limit of CPU time is moved on with each document.
        "prlimit64": [
            *(_argument(0), (_IF_EQUAL, 1, 0, 0), _REFUSE),
            *(_argument(1), *_when(_IF_EQUAL, resource.RLIMIT_CPU, _ALLOW), _REFUSE),
        ],
        # How `abort` ends a process.
        "tgkill": [_argument(0), *_when(_IF_EQUAL, pid, _ALLOW), _KILL],
    }


def _filter(machine: str, pid: int) -> list[_Instruction]:
    column = syscalls.MACHINES.index(machine)
    verdicts = {name: [_ALLOW] for name in syscalls.ALLOWED}
    verdicts |= _judgements(pid)
    verdicts |= {name: [_KILL] for name in syscalls.DEADLY}
    numbers = syscalls.ALLOWED | syscalls.JUDGED | syscalls.DEADLY
    program = [
        (_LOAD, 0, 0, _MACHINE_AT),
        (_IF_EQUAL, 1, 0, _AUDITED[machine]),
        _KILL,
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    if machine == "x86_64":
        program += _when(_IF_AT_LEAST, _X32_CALLS, _KILL)
    for name, verdict in verdicts.items():
        number = numbers[name][column]
        if number is not None:
            program += [(_IF_EQUAL, 0, len(verdict), number), *verdict]
    return [*program, *_when(_IF_AT_LEAST, syscalls.NEWEST + 1, _UNKNOWN), _REFUSE]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def _filter_calls() -> None:
    instructions = _filter(platform.machine(), os.getpid())
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)
    program = _Program(len(instructions), code)
    _call("prctl", _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0)


# --- The C library -----------------------------------------------------------------------------------------

_libc = ctypes.CDLL(None, use_errno=True)


def _call(function: str, *arguments: Any) -> int:
    """Numbers go as `long`, as the functions with a variable number of arguments expect them."""
    passed = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
    result: int = getattr(_libc, function)(*passed)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
