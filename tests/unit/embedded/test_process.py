"""Children of ours: their logs, their end, and that they go with us."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.embedded import ServerProcess, free_port, is_port_free
from app.embedded.process import is_alive, reason_in, rotate, works_in
from app.errors import StartupError


def run(tmp_path: Path, code: str) -> ServerProcess:
    return ServerProcess([sys.executable, "-c", code], name="The test", log_path=tmp_path / "log")


def test_a_child_that_ends_early_is_told_with_the_reason(tmp_path: Path) -> None:
    child = run(tmp_path, "raise SystemExit('fatal: the cable is cut. Error 7')")
    with pytest.raises(StartupError, match=r"The test did not start: fatal: the cable is cut\. Error 7"):
        child.wait_until(lambda: False, timeout_s=20)
    child.stop()


def test_a_child_that_is_never_ready_is_told_with_its_log(tmp_path: Path) -> None:
    child = run(tmp_path, "import signal; signal.pause()")
    with pytest.raises(StartupError, match=r"not ready after 0\.1 s; see .*log"):
        child.wait_until(lambda: False, timeout_s=0.1)
    child.stop((signal.SIGTERM, 10))
    assert child.exit_code == -signal.SIGTERM


def test_a_program_that_is_not_there_is_told(tmp_path: Path) -> None:
    child = ServerProcess(["/nonexistent/program"], name="The test", log_path=tmp_path / "log")
    with pytest.raises(StartupError, match="No such file"):
        child.wait_until(lambda: False, timeout_s=20)
    child.stop()


def test_a_child_that_ignores_the_polite_signal_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = "import signal; signal.signal(15, signal.SIG_IGN); print('up', flush=True); signal.pause()"
    child = run(tmp_path, code)
    child.wait_until(lambda: "up" in log.read_text(), timeout_s=20)
    child.stop((signal.SIGTERM, 0.05))
    assert child.exit_code == -signal.SIGKILL


def test_stopping_a_child_takes_its_own_children_along(tmp_path: Path) -> None:
    log = tmp_path / "log"
    grandchild = "import signal; signal.signal(15, signal.SIG_IGN); print('up', flush=True); signal.pause()"
    code = (
        "import subprocess, sys, signal\n"
        f"child = subprocess.Popen([sys.executable, '-c', {grandchild!r}])\n"
        "print(child.pid, flush=True)\nsignal.pause()"
    )
    child = run(tmp_path, code)
    child.wait_until(lambda: "up" in log.read_text(), timeout_s=20)
    pid = int(log.read_text().split()[0])
    child.stop((signal.SIGTERM, 10))
    # It is not ours to wait for: a zombie until its new parent reaps it counts as dead.
    while is_alive(pid):
        pass


def test_sigpipe_ends_a_child_as_it_does_in_a_shell(tmp_path: Path) -> None:
    child = ServerProcess(
        ["/bin/sh", "-c", "kill -PIPE $$; echo survived"], name="The test", log_path=tmp_path / "log"
    )
    assert child.wait(20) == -signal.SIGPIPE


def test_the_log_of_the_last_run_is_kept_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for text in ("one", "two", "three"):
        rotate(log)
        log.write_text(text)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.1"]
    assert (tmp_path / "log.1").read_text() == "two"


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        ("2026-01-01 UTC [7] FATAL:  the disk is full\n2026 LOG:  bye\n", "the disk is full"),
        (
            "1:M 01 Jan 2026 # Failed listening: address already in use\n",
            "Failed listening: address already in",
        ),
        ("hello\nlast words\n\n", "last words"),
        ("", "it said nothing"),
    ],
)
def test_the_reason_is_the_line_that_tells_it(tmp_path: Path, log: str, reason: str) -> None:
    path = tmp_path / "log"
    path.write_text(log)
    assert reason in reason_in(path)


def test_a_log_that_was_never_written_is_no_second_trouble(tmp_path: Path) -> None:
    assert "it said nothing" in reason_in(tmp_path / "missing")


def test_alive_means_running_and_not_a_zombie() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # Ended, and not reaped.
        assert not is_alive(child.pid)
    assert not is_alive(child.pid)
    assert is_alive(os.getpid())
    assert is_alive(1)


def test_a_process_is_known_by_its_working_folder(tmp_path: Path) -> None:
    assert works_in(os.getpid(), Path.cwd())
    assert not works_in(os.getpid(), tmp_path)


def test_a_port_is_free_until_somebody_listens() -> None:
    port = free_port()
    assert is_port_free(port)
    with socket.create_server(("127.0.0.1", port)):
        assert not is_port_free(port)


def test_an_address_of_another_machine_is_an_error_of_its_own() -> None:
    with pytest.raises(OSError, match=r".+"):
        is_port_free(8000, "192.0.2.1")


FAMILY = """
import os, signal, subprocess, sys, time
stubborn = "import os, signal; signal.signal(15, signal.SIG_IGN); os.write(1, b'up\\\\n'); signal.pause()"
child = subprocess.Popen([sys.executable, "-c", stubborn])
os.write(1, b'%d %d\\n' % (os.getpid(), child.pid))  # In one call, as both write into one log.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
signal.pause()
"""


@pytest.fixture
def family(tmp_path: Path) -> Iterator[tuple[ServerProcess, int, int]]:
    """A program under a guard, its pid, and the pid of a child of it that ignores SIGTERM."""
    log = tmp_path / "log"
    command = [sys.executable, "-c", FAMILY]
    guard = ServerProcess(command, name="The test", log_path=log, last_wish=signal.SIGHUP, has_children=True)
    guard.wait_until(lambda: "up" in log.read_text() and log.read_text().count("\n") == 2, timeout_s=20)
    pids = next(line for line in log.read_text().splitlines() if line != "up").split()
    yield guard, int(pids[0]), int(pids[1])
    guard.stop((signal.SIGKILL, 10))


def test_a_guard_hands_sigterm_on_and_ends_as_its_program(family: tuple[ServerProcess, int, int]) -> None:
    guard, _, grandchild = family
    guard.stop((signal.SIGTERM, 20))
    assert guard.exit_code == 7
    while is_alive(grandchild):
        pass


def test_the_last_wish_kills_the_whole_family(family: tuple[ServerProcess, int, int]) -> None:
    guard, child, grandchild = family
    os.kill(guard.pid, signal.SIGHUP)
    while is_alive(child) or is_alive(grandchild):
        pass
    assert guard.wait(10) == -signal.SIGKILL


@pytest.mark.parametrize("who", ["guard", "program"])
def test_whoever_is_killed_the_rest_follows_as_soon_as_it_is_noticed(
    family: tuple[ServerProcess, int, int], who: str
) -> None:
    guard, child, grandchild = family
    os.kill(guard.pid if who == "guard" else child, signal.SIGKILL)
    while guard.exit_code is None:
        pass
    while is_alive(child) or is_alive(grandchild):
        pass
