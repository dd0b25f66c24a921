"""Become the given command, or stand above it, and die with the parent.

Run as a script in front of every server and worker that we start, by the bare interpreter (`-I -S`, about
15 ms): a `preexec_fn` would do the same but may deadlock in a program with threads, and Python 3.12 warns
about it. Standard library only, no import from `app`: the interpreter has no path to it here.

    guard.py become|above PARENT_PID SIGNAL UID:GID|- COMMAND...

`become` replaces this process. `above` is for programs with processes of their own that they would leave
behind, such as Dramatiq's master: this process stays, hands SIGTERM on, and takes the last wish as the order
to kill the whole group, itself included.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import NoReturn

PR_SET_PDEATHSIG = 1


def drop_to(uid: int, gid: int) -> None:
    """Give up root for good: groups first, because later there is no right to."""
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def die_with(parent_pid: int, signal_number: int) -> None:
    """Ask the kernel for a signal when the parent dies; must follow setuid, which clears the wish."""
    if not sys.platform.startswith("linux"):
        return  # Nothing like it elsewhere: there, only an orderly stop takes the servers down.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent_pid:  # It died before we asked.
        raise SystemExit(1)


def main(arguments: list[str]) -> None:
    """Prepare this process, then replace it; never returns."""
    manner, parent_pid, signal_number, user, *command = arguments
    if user != "-":
        uid, _, gid = user.partition(":")
        drop_to(int(uid), int(gid))
    if manner == "above":
        stand_above(command, int(parent_pid), int(signal_number))
    die_with(int(parent_pid), int(signal_number))
    become(command)


def stand_above(command: list[str], parent_pid: int, signal_number: int) -> NoReturn:
    """Run the command as a child, and end as it ends."""
    # Before anything is asked for, so that no signal meets the default.
    signal.signal(signal_number, lambda *_: os.killpg(0, signal.SIGKILL))
    signal.signal(signal.SIGTERM, lambda *_: None)
    own_pid = os.getpid()
    child = os.fork()
    if child == 0:
        signal.signal(signal_number, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        die_with(own_pid, signal.SIGKILL)
        become(command)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
    die_with(parent_pid, signal_number)
    _, status = os.waitpid(child, 0)
    raise SystemExit(status >> 8 or (128 + (status & 127) if status else 0))


def become(command: list[str]) -> NoReturn:
    """Replace this process."""
    for ignored_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored_by_python, signal.SIG_DFL)  # An ignored signal would stay ignored after exec.
    try:
        os.execvp(command[0], command)  # noqa: S606  # The command is ours, and no shell is wanted.
    except OSError as error:
        raise SystemExit(f"{command[0]}: {error.strerror}") from None


if __name__ == "__main__":
    main(sys.argv[1:])
