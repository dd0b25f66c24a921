"""`sluice up` as a real process: what it starts, that it mends it, and that nothing is left of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from app.embedded import free_port
from app.embedded.process import is_alive

ROOT = Path(__file__).parents[3]
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


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Running]:
    port = free_port()
    with subprocess.Popen(
        command("up", "--data", tmp_path, "--port", port, "--workers", 1),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=ENVIRONMENT,
    ) as process:
        assert process.stdout is not None
        try:
            said = ""
            while "Ctrl-C stops everything." not in said:
                line = process.stdout.readline()
                assert line, said
                said += line
            yield Running(process, tmp_path, port)
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


def test_ctrl_c_stops_everything_and_leaves_nothing_behind(up: Running) -> None:
    assert ready(up)
    pids = list(up.descendants())
    assert len(pids) >= 4
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(40) == 0
    wait_until(lambda: not any(is_alive(pid) for pid in pids))
    assert up.process.stdout is not None
    assert "Traceback" not in up.process.stdout.read()


def test_down_stops_it_from_another_terminal(up: Running) -> None:
    answer = run("down", "--data", up.data)
    assert answer.returncode == 0, answer.stderr
    assert f"Stopped process {up.process.pid}" in answer.stdout
    assert up.process.wait(10) == 0
    assert run("down", "--data", up.data).stdout.startswith("Nothing runs")


def test_a_second_up_on_the_same_data_names_the_first(up: Running) -> None:
    answer = run("up", "--data", up.data, "--port", free_port())
    assert answer.returncode == 1
    assert f"in use by process {up.process.pid} ({up.url})" in answer.stderr
    assert ready(up)


def test_killing_it_takes_everything_down(up: Running) -> None:
    pids = list(up.descendants())
    up.process.kill()
    wait_until(lambda: not any(is_alive(pid) for pid in pids))


def test_a_killed_api_comes_back(up: Running) -> None:
    os.kill(up.pid_of("uvicorn"), signal.SIGKILL)
    wait_until(lambda: not ready(up))
    wait_until(lambda: ready(up))


def test_killed_workers_come_back_and_leave_no_orphans(up: Running) -> None:
    guard = up.pid_of("dramatiq")
    family = {pid for pid in up.descendants() if os.getsid(pid) == guard}
    (master,) = (pid for pid in family if up.parent_of(pid) == guard)
    os.kill(master, signal.SIGKILL)
    wait_until(lambda: not any(is_alive(pid) for pid in family))
    assert ingest(up, "The heron stands on the lower gate.")["status"] == "COMPLETED"


def test_killed_servers_come_back_where_they_were(up: Running) -> None:
    os.kill(up.pid_of("valkey-server"), signal.SIGKILL)
    os.kill(up.pid_of("bin/postgres"), signal.SIGKILL)
    wait_until(lambda: not ready(up))
    wait_until(lambda: ready(up))
    assert ingest(up, "The swan has five cygnets.")["status"] == "COMPLETED"


def test_documents_outlive_the_process(up: Running) -> None:
    first = ingest(up, "Tallow, not mineral grease.")
    assert run("down", "--data", up.data).returncode == 0
    answer = run("demo", "--exit", "--data", up.data, "--port", up.port, "--workers", 1)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    again = run("demo", "--exit", "--data", up.data, "--port", up.port, "--workers", 1)
    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stdout.count("already there") == 11
    assert first["status"] == "COMPLETED"
