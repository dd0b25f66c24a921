"""Become the given command, and die with the parent.

Run as a script in front of every server and worker that we start, by the bare interpreter (`-I -S`, about
15 ms): a `preexec_fn` would do the same but may deadlock in a program with threads, and Python 3.12 warns
about it. Standard library only, no import from `app`: the interpreter has no path to it here.

    guard.py PARENT_PID SIGNAL UID:GID|- COMMAND...
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

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
    parent_pid, signal_number, user, *command = arguments
    if user != "-":
        uid, _, gid = user.partition(":")
        drop_to(int(uid), int(gid))
    die_with(int(parent_pid), int(signal_number))
    for ignored_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored_by_python, signal.SIG_DFL)  # An ignored signal would stay ignored after exec.
    try:
        os.execvp(command[0], command)  # noqa: S606  # The command is ours, and no shell is wanted.
    except OSError as error:
        raise SystemExit(f"{command[0]}: {error.strerror}") from None


if __name__ == "__main__":
    main(sys.argv[1:])
