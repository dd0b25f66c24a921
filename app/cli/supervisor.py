"""Keeps children running: who dies unasked is started again, ever more slowly, and somebody is told."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from app.embedded.process import reason_in
from app.errors import StartupError

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
STEADY_AFTER_S = 60.0
POLL_S = 0.1

#: As shells have it, an exit code above this is the signal that ended it.
SIGNALLED = 128

#: As Dramatiq's master says it of one of its processes, before it ends itself.
PART_KILLED = re.compile(r"PID (\d+) exited unexpectedly \(code -(\d+)\)")


class Child(Protocol):
    """What can be kept running."""

    @property
    def name(self) -> str: ...

    @property
    def log_path(self) -> Path: ...

    @property
    def is_running(self) -> bool: ...

    @property
    def exit_code(self) -> int | None: ...

    def restart(self) -> object: ...


class Backoff:
    """How long to wait before the next start: 1, 2, 4, … 30 s; from the beginning after a quiet minute."""

    def __init__(self) -> None:
        self._pause_s = FIRST_PAUSE_S
        self._last = float("-inf")

    def next_pause_s(self, now: float) -> float:
        if now - self._last > STEADY_AFTER_S:
            self._pause_s = FIRST_PAUSE_S
        pause_s, self._pause_s = self._pause_s, min(self._pause_s * 2, LONGEST_PAUSE_S)
        self._last = now + pause_s
        return pause_s


class Supervisor:
    """Watches children from a thread of its own, each with its own backoff."""

    def __init__(self, children: Sequence[Child], say: Callable[[str], None]) -> None:
        self._say = say
        self._backoffs = {child: Backoff() for child in children}
        self._due: dict[Child, float] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Restart nothing any more; harmless when it never began."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(POLL_S):
            self.look(time.monotonic())

    def look(self, now: float) -> None:
        """One round: note who died, start again who has waited long enough."""
        for child, backoff in self._backoffs.items():
            if child.is_running:
                continue
            if child not in self._due:
                pause_s = backoff.next_pause_s(now)
                self._due[child] = now + pause_s
                self._say(f"{told_end(child)} Starting it again in {pause_s:g} s.")
            elif now >= self._due[child]:
                self._restart(child)

    def _restart(self, child: Child) -> None:
        del self._due[child]
        try:
            child.restart()
        except StartupError as error:
            self._say(str(error))  # The next round notes it as ended once more, and waits longer.


def told_end(child: Child) -> str:
    """How it ended; who was killed had no time for last words."""
    code, reason = child.exit_code or 0, reason_in(child.log_path)
    number = -code if code < 0 else code - SIGNALLED  # Its own end, or what the guard above it makes of that.
    if number > 0:
        return f"{child.name} was killed (signal {number})."
    if part := PART_KILLED.search(reason):
        return f"{child.name} has ended, as process {part[1]} of it was killed (signal {part[2]})."
    return f"{child.name} has ended unasked. Its last words: {reason}"
