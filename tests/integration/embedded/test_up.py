"""`sluice up` as a real process: what it starts, and that nothing is left of it when it ends."""

from __future__ import annotations

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


def test_a_second_up_on_the_same_data_names_the_first_and_down_stops_it_from_another_terminal(
    up: Running,
) -> None:
    second = run("up", "--data", up.data, "--port", free_port())
    assert second.returncode == 1
    assert f"in use by process {up.process.pid} ({up.url})" in second.stderr
    assert ready(up)

    answer = run("down", "--data", up.data)
    assert answer.returncode == 0, answer.stderr
    assert f"Stopped process {up.process.pid}" in answer.stdout
    assert up.process.wait(10) == 0
    assert run("down", "--data", up.data).stdout.startswith("Nothing runs")


def test_documents_outlive_the_process(up: Running) -> None:
    first = ingest(up, "Tallow, not mineral grease.")
    assert run("down", "--data", up.data).returncode == 0
    answer = run("demo", "--exit", "--data", up.data, "--port", up.port, "--workers", 1)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    again = run("demo", "--exit", "--data", up.data, "--port", up.port, "--workers", 1)
    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stdout.count("already there") == 11
    assert first["status"] == "COMPLETED"
