"""Children that die unasked, and what the supervisor makes of it. The clock is an argument."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.cli.supervisor import Backoff, Supervisor, told_end
from app.errors import StartupError


class FakeChild:
    """Dies and comes back as the test wants."""

    name = "The test"

    def __init__(self, log_path: Path) -> None:
        self.log_path = log_path
        self.is_running = True
        self.exit_code: int | None = None
        self.starts = 0
        self.refuses = False

    def restart(self) -> None:
        self.starts += 1
        if self.refuses:
            raise StartupError("The test will not start.")
        self.is_running = True


@pytest.fixture
def child(tmp_path: Path) -> FakeChild:
    log_path = tmp_path / "log"
    log_path.write_text("Error: out of luck\n")
    return FakeChild(log_path)


def test_pauses_double_up_to_half_a_minute() -> None:
    backoff = Backoff()
    now, pauses = 0.0, []
    for _ in range(7):
        pauses.append(backoff.next_pause_s(now))
        now += pauses[-1] + 0.1
    assert pauses == [1, 2, 4, 8, 16, 30, 30]


def test_a_quiet_minute_makes_up_for_the_past() -> None:
    backoff = Backoff()
    assert [backoff.next_pause_s(0), backoff.next_pause_s(1), backoff.next_pause_s(100)] == [1, 2, 1]


def test_a_child_that_runs_is_left_alone(child: FakeChild) -> None:
    said: list[str] = []
    Supervisor([child], said.append).look(0)
    assert said == []
    assert child.starts == 0


def test_a_dead_child_is_told_once_and_started_after_its_pause(child: FakeChild) -> None:
    said: list[str] = []
    supervisor = Supervisor([child], said.append)
    child.is_running = False
    supervisor.look(10.0)
    supervisor.look(10.9)
    assert child.starts == 0
    assert len(said) == 1
    assert "The test has ended unasked. " in said[0]
    assert said[0].endswith("Starting it again in 1 s.")
    assert "out of luck" in said[0]
    supervisor.look(11.0)
    assert child.starts == 1
    assert child.is_running


@pytest.mark.parametrize(
    ("code", "log", "told"),
    [
        (-9, "Error: of yesterday\n", "The test was killed (signal 9)."),
        (137, "Error: of yesterday\n", "The test was killed (signal 9)."),
        (
            4,
            "Error: of yesterday\nWorker with PID 77 exited unexpectedly (code -9). Shutting down...\n",
            "The test has ended, as process 77 of it was killed (signal 9).",
        ),
        (1, "Error: of today\n", "The test has ended unasked. Its last words: Error: of today"),
    ],
)
def test_who_was_killed_said_nothing_about_it(child: FakeChild, code: int, log: str, told: str) -> None:
    child.exit_code = code
    child.log_path.write_text(log)
    assert told_end(child).startswith(told)


def test_a_child_that_will_not_start_is_tried_again_later(child: FakeChild) -> None:
    said: list[str] = []
    supervisor = Supervisor([child], said.append)
    child.is_running, child.refuses = False, True
    for now in (0.0, 1.0, 1.1, 3.0):
        supervisor.look(now)
    assert child.starts == 1
    assert "The test will not start." in said
    assert "in 2 s" in said[-1]
    child.refuses = False
    supervisor.look(3.2)
    assert child.is_running


def test_the_thread_restarts_and_then_lets_itself_be_stopped(
    child: FakeChild, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.cli.supervisor.FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr("app.cli.supervisor.POLL_S", 0.001)
    supervisor = Supervisor([child], lambda _: None)
    child.is_running = False
    supervisor.start()
    while not child.is_running:
        pass
    supervisor.stop()
    child.is_running = False
    assert child.starts == 1
    Supervisor([child], lambda _: None).stop()  # Never began.
