"""`sluice up` as a real process, and everything below it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from app.embedded import free_port

ROOT = Path(__file__).parents[1]
# The embedder for tests needs no model; the servers are the embedded ones whatever the environment says.
GIVEN = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "REDIS_URL"}}
ENVIRONMENT = {**GIVEN, "EMBEDDER": "hash", "SHUTDOWN_GRACE_S": "1"}


@dataclass(frozen=True)
class Running:
    """An `up` that is ready."""

    process: subprocess.Popen[str]
    data: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def descendants(self) -> dict[int, str]:
        """Every process below it, by pid, with its command line."""
        parents = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and (stat := read(entry / "stat")):
                parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
        found = {self.process.pid}
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return {pid: read(Path(f"/proc/{pid}/cmdline")) for pid in found - {self.process.pid}}

    def parent_of(self, pid: int) -> int:
        return int(read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()[1])

    def pid_of(self, *words: str) -> int:
        """The child (not a grandchild) whose command line has these words."""
        for pid, command in self.descendants().items():
            if all(word in command for word in words) and os.getsid(pid) == pid:
                return pid
        raise AssertionError(f"no child with {words}")


def read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""  # It ended meanwhile.


def wait_until(condition: Callable[[], bool], timeout_s: float = 40) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "app.cli", *map(str, arguments)]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, check=False, cwd=ROOT, env=ENVIRONMENT
    )


@contextmanager
def running(data: Path, **environment: str) -> Iterator[Running]:
    """An `up` that is ready, and killed when the block ends."""
    port = free_port()
    with subprocess.Popen(
        command("up", "--data", data, "--port", port, "--workers", 1),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env={**ENVIRONMENT, **environment},
    ) as process:
        assert process.stdout is not None
        try:
            said = ""
            while "Ctrl-C stops everything." not in said:
                line = process.stdout.readline()
                assert line, said
                said += line
            yield Running(process, data, port)
        finally:
            process.kill()


def ready(running: Running) -> bool:
    try:
        return httpx.get(f"{running.url}/readyz", trust_env=False).is_success
    except httpx.HTTPError:
        return False


def ingest(running: Running, text: str) -> dict[str, object]:
    """Take a text in, and wait for the end of it."""
    with httpx.Client(base_url=running.url, trust_env=False, timeout=60) as client:
        created = client.post("/ingest", json={"text": text})
        assert created.is_success, created.text
        while True:
            document: dict[str, object] = client.get(
                f"/documents/{created.json()['document_id']}", params={"wait": 30}
            ).json()
            if document["status"] in {"COMPLETED", "FAILED"}:
                return document
