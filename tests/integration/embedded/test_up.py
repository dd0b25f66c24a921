"""`sluice up` as a real process: what it starts, that it mends it, and that nothing is left of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.embedded import free_port
from app.embedded.process import is_alive
from tests.running import Running, ingest, ready, run, running, wait_until


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path) as started:
        yield started


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
