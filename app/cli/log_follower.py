"""Shows log files in the terminal as they grow."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

POLL_S = 0.1


class LogFollower:
    """Reads a few files from a thread; a file that was rotated is followed from its new beginning."""

    def __init__(self, paths: Sequence[Path], say: Callable[[str], None]) -> None:
        self._say = say
        self._places = dict.fromkeys(paths, (0, 0))
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-follower", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Show what is left, then end."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self.look()

    def _run(self) -> None:
        while not self._stopping.wait(POLL_S):
            self.look()

    def look(self) -> None:
        """Show all whole lines written since the last look."""
        for path, (inode, offset) in self._places.items():
            try:
                with path.open("rb") as log:
                    now = path.stat().st_ino
                    log.seek(offset if now == inode else 0)
                    lines, _, _ = log.read().rpartition(b"\n")
            except OSError:
                continue
            for line in lines.splitlines():
                self._say(f"[{path.stem}] {line.decode(errors='replace')}")
            begun = offset if now == inode else 0
            self._places[path] = (now, begun + len(lines) + (1 if lines else 0))
