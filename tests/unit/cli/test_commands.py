"""The commands as they are typed, as far as nothing has to be started for them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from app.cli.commands import Commands
from app.cli.down import down
from app.cli.quality import passes
from app.cli.stack import require_port
from app.embedded import FolderLock
from app.errors import StartupError

ROOT = Path(__file__).parents[3]
ENTRIES = {name: entry for section in Commands.sections.values() for name, entry in section.items()}
HOLDER = """
import signal, sys
from pathlib import Path
from app.embedded import FolderLock

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
with FolderLock(Path(sys.argv[1])):
    print("held", flush=True)
    signal.pause()
"""


def sluice(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, **environment},
    )


def test_without_a_command_all_are_listed() -> None:
    answer = sluice()
    assert answer.returncode == 0
    for name in ("up", "down", "demo", "migrate", "test", "check", "chaos"):
        assert f"  {name} " in answer.stdout


def test_a_bad_setting_is_one_sentence_and_exit_code_1(tmp_path: Path) -> None:
    answer = sluice("up", "--data", str(tmp_path / "data"), REDIS_URL="gopher://hole")
    assert answer.returncode == 1
    assert answer.stderr.startswith("The settings are wrong: REDIS_URL:")
    assert "Traceback" not in answer.stderr
    assert not (tmp_path / "data").exists()


def test_a_busy_port_is_told_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answer = sluice("up", "--data", str(tmp_path), "--port", str(port))
    assert answer.returncode == 1
    assert answer.stderr.startswith(f"Port {port} of 127.0.0.1 is taken")
    assert not (tmp_path / "postgres").exists()


def test_a_second_up_names_the_pid_and_the_address_of_the_first(tmp_path: Path) -> None:
    with FolderLock(tmp_path).acquire("http://127.0.0.1:8000"):
        answer = sluice("up", "--data", str(tmp_path))
    assert answer.returncode == 1
    assert f"in use by process {os.getpid()} (http://127.0.0.1:8000)" in answer.stderr


def test_a_data_folder_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    answer = sluice("up", "--data", str(tmp_path / "data"))
    assert (answer.returncode, answer.stderr.count("\n")) == (1, 1)


def test_down_says_when_nothing_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    down(tmp_path)
    assert capsys.readouterr().out == f"Nothing runs on {tmp_path}.\n"


def test_the_data_folder_is_meant_from_where_it_was_called_and_told_in_full(tmp_path: Path) -> None:
    answer = sluice("down", "--data", "data", SLUICE_CALLED_FROM=str(tmp_path))
    assert answer.stdout == f"Nothing runs on {tmp_path / 'data'}.\n"
    (tmp_path / "data").touch()
    answer = sluice("up", "--data", "data", SLUICE_CALLED_FROM=str(tmp_path))
    assert f"The data folder {tmp_path / 'data'} cannot be used" in answer.stderr


@pytest.mark.parametrize("name", ["up", "demo", "down"])
def test_without_a_word_about_it_the_data_folder_is_that_of_the_program(name: str, tmp_path: Path) -> None:
    told = sluice(name, "--help", SLUICE_CALLED_FROM=str(tmp_path))
    assert ".data beside ./sluice" in " ".join(told.stdout.split())
    command = ENTRIES[name].command(name)
    with command.make_context(name, []) as context:
        assert context.params["data"] == ROOT / ".data"


def test_down_stops_the_holder_and_waits_for_its_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        down(tmp_path)
        assert holder.wait(10) == 0
    assert f"Stopped process {holder.pid}" in capsys.readouterr().out


def test_down_gives_up_on_a_holder_that_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.cli.down.PATIENCE_S", 0.0)
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with FolderLock(tmp_path), pytest.raises(StartupError, match="has not stopped"):
            down(tmp_path)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_an_address_of_another_machine_is_told() -> None:
    with pytest.raises(StartupError, match=r"192\.0\.2\.1 is no address of this machine"):
        require_port("192.0.2.1", 8000)


def test_a_check_that_fails_shows_its_details(capfd: pytest.CaptureFixture[str]) -> None:
    assert passes("good", [sys.executable, "-c", "print('quiet')"])
    assert not passes("bad", [sys.executable, "-c", "raise SystemExit('this is why')"])
    said = capfd.readouterr().out
    assert "quiet" not in said
    assert "FAILED" in said
    assert "this is why" in said


#: Blocks the signal and becomes the command line, as `sluice` does.
HAND_OVER = """
import os, signal, sys

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
if sys.argv[1:]:
    os.kill(os.getpid(), signal.SIGINT)
os.execv(sys.executable, [sys.executable, "-m", "app.cli", "--help"])
"""


def test_an_interrupt_before_the_command_line_is_there_ends_it_without_a_word() -> None:
    command = [sys.executable, "-I", "-S", "-c", HAND_OVER, "now"]
    done = subprocess.run(command, capture_output=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")


@pytest.mark.parametrize("wait_s", [0.04, 0.08, 0.12, 0.16, 0.2, 0.3])
def test_an_interrupt_at_any_moment_of_the_start_is_no_traceback(wait_s: float) -> None:
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", HAND_OVER],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        with suppress(subprocess.TimeoutExpired):
            process.wait(wait_s)
        process.send_signal(signal.SIGINT)
        said, noted = process.communicate(timeout=20)
    assert noted == ""
    # The end by the signal itself is 130 for shells; 0 if all was said before.
    assert process.returncode in {-signal.SIGINT, 130} or "Usage" in said
