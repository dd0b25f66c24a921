"""The processes under test: started as documented, and kept running as a supervisor would."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from app.core.config import Settings
from app.embedded.process import spawn

ROOT = Path(__file__).parents[2]
RESTART_S = 0.5
LOOK_S = 0.05
START_TIMEOUT_S = 60


class Program:
    """A command that is started again when it ends, each start with a session and a log of its own.

    A guard stands above it (app/embedded/guard.py), so that everything ends with this process, however that
    ends. What the command leaves behind is not cleared away until the very end: a fault may look for it.
    """

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], folder: Path
    ) -> None:
        self.name = name
        self._command = [sys.executable, "-m", *command]
        self._environment = own_environment(environment)
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self.sessions: list[int] = []
        self.exit_codes: list[int] = []
        self.is_kept = True  # Whether it is started again.

    @property
    def session(self) -> int:
        """The id of the present session, and of the guard."""
        return self.sessions[-1]

    def start(self) -> None:
        number = len(self.sessions) + 1
        with (self._folder / f"{self.name}-{number}.log").open("wb") as log:
            self._process = spawn(
                self._command,
                last_wish=signal.SIGHUP,
                stdout=log.fileno(),
                stderr=log.fileno(),
                env=self._environment,
                cwd=ROOT,
                above=True,
            )
        self.sessions.append(self._process.pid)
        self._keeper = asyncio.create_task(self._keep(self._process), name=f"keeper of {self.name}")

    async def _keep(self, process: subprocess.Popen[bytes]) -> None:
        while process.poll() is None:
            await asyncio.sleep(LOOK_S)
        self.exit_codes.append(process.returncode)
        await asyncio.sleep(RESTART_S)
        if self.is_kept:
            self.start()

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def members(self) -> list[int]:
        """Everything that lives in the present session but the guard."""
        return [pid for pid in living_in({self.session}) if pid != self.session]

    def master(self) -> int:
        """The command's own process."""
        (pid,) = children_of(self.session)
        return pid

    def is_at_work(self) -> bool:
        """Whether its present start has come so far that it takes documents."""
        return self.is_running and '"worker_started"' in self._present_log().read_text(errors="replace")

    def stand_still(self) -> None:
        """SIGSTOP to master, workers and parser children. Not to the guard: should we die, it has to act."""
        stopped: set[int] = set()
        while new := set(self.members()) - stopped:  # One of them may just have started another.
            self._signal_each(new, signal.SIGSTOP)
            stopped |= new

    def go_on(self) -> None:
        self._signal_each(self.members(), signal.SIGCONT)

    def _signal_each(self, pids: Iterable[int], number: signal.Signals) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def terminate(self) -> None:
        """As a supervisor asks a program to end: its guard hands the signal on."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.session, signal.SIGTERM)

    async def ended(self, within_s: float) -> int | None:
        """Its exit code; None when it has not ended in time."""
        process = self._process
        if process is None:
            return None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while process.poll() is None:
                    await asyncio.sleep(LOOK_S)
        return process.returncode

    async def destroy(self) -> list[int]:
        """Kill whatever is left of all starts; what outlived its master is told."""
        self.is_kept = False
        if self._keeper is not None:
            self._keeper.cancel()
        orphans = living_in(set(self.sessions[:-1]))
        for session in self.sessions:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(session, signal.SIGKILL)
        if self._process is not None:
            await asyncio.to_thread(self._process.wait)
        return orphans

    def events(self, *names: str) -> list[dict[str, Any]]:
        """What it logged under these names, over all starts."""
        return [event for event in self._log_lines() if event.get("event") in names]

    def _log_lines(self) -> list[dict[str, Any]]:
        found = []
        for path in sorted(self._folder.glob(f"{self.name}-*.log")):
            for line in path.read_text(errors="replace").splitlines():
                with contextlib.suppress(ValueError):
                    event = json.loads(line)
                    if isinstance(event, dict):
                        found.append(event)
        return found

    def words(self) -> str:
        """The end of the present log, for when it does not start."""
        return self._present_log().read_text(errors="replace")[-2000:]

    def _present_log(self) -> Path:
        return self._folder / f"{self.name}-{len(self.sessions)}.log"


def own_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """The environment without any setting of Sluice's but these."""
    return {name: value for name, value in os.environ.items() if name not in Settings.model_fields} | dict(
        settings
    )


def children_of(pid: int) -> list[int]:
    """The processes that any of its threads has started."""
    found = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (thread / "children").read_text().split()]
    return found


def stat_of(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on; empty when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def living_in(sessions: set[int]) -> list[int]:
    """The processes of these sessions; zombies are none."""
    everyone = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    return [
        pid for pid in everyone if (stat := stat_of(pid)) and int(stat[3]) in sessions and stat[0] not in "ZX"
    ]
