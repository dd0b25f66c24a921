"""The processes of the service, by what they are, and the memory and the time that they take."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

MEBIBYTE = 1024 * 1024

API, WORKER, MASTER = "API", "worker", "Dramatiq's master"
FORK_SERVER, PARSER = "parser fork server", "parser child"
POSTGRES = "PostgreSQL, all together"

#: What stands in the command lines of the processes that are one of a kind.
SIGNS = {"postgres": POSTGRES, "valkey": "Valkey", "uvicorn": API}


def below(pid: int) -> Iterator[int]:
    """All processes that this one has started, from whichever thread, and they."""
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, children.read_text().split()):
                yield child
                yield from below(child)


def role(pid: int) -> str | None:
    """What a process of the service is; None of one that only stands guard."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None
    if "guard.py" in command:
        return None
    if "app.parsing.forkserver" in command:
        return PARSER if (role(parent) or "").startswith("parser") else FORK_SERVER
    if "multiprocessing" in command or "dramatiq" in command:
        return WORKER if role(parent) == MASTER else MASTER
    return next((name for sign, name in SIGNS.items() if sign in command), None)


def by_role() -> dict[int, str]:
    """The processes that this one has started, and what they are, but for those that only stand guard."""
    roles = {pid: role(pid) for pid in below(os.getpid())}
    return {pid: name for pid, name in roles.items() if name is not None}


def peak_bytes(pid: int) -> int:
    """The most resident memory that the process has had since the last reset."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def reset_peak(pid: int) -> None:
    """Have the peak be what it holds now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def api_pid(url: str) -> int:
    """The process that listens on the port: a guard stands above it."""
    port = f":{int(url.rpartition(':')[2]):04X}"
    listening = {
        line.split()[9]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if line.split()[1].endswith(port) and line.split()[3] == "0A"
    }
    for process in Path("/proc").glob("[0-9]*"):
        try:
            links = [str(link.readlink()) for link in (process / "fd").iterdir()]
        except OSError:
            continue
        if any(f"socket:[{inode}]" in links for inode in listening):
            return int(process.name)
    raise SystemExit(f"Nothing listens at {url}.")
