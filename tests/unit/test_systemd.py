"""The units in deploy/: what they run and set is there, and they wait long enough before they kill."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from collections import defaultdict
from pathlib import Path

import pytest
import uvicorn
from dramatiq.cli import make_argument_parser

from app.core.config import Settings

ROOT = Path(__file__).parents[2]
UNITS = ["sluice-api", "sluice-worker"]
INSTALLED = "/srv/sluice"


def directives(unit: str) -> dict[str, list[str]]:
    """Of all sections; systemd lets a key stand more than once, which configparser does not read."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in (ROOT / "deploy" / f"{unit}.service").read_text().splitlines():
        if line and line[0] not in "#[":
            key, _, value = line.partition("=")
            found[key].append(value)
    return found


def command(unit: str) -> list[str]:
    (line,) = directives(unit)["ExecStart"]
    return shlex.split(line)


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_runs_a_program_of_the_environment_on_a_module_of_ours(unit: str) -> None:
    program, target, *_ = command(unit)
    assert program.startswith(f"{INSTALLED}/.venv/bin/")
    assert Path(sys.executable).with_name(Path(program).name).exists()
    module, _, name = target.partition(":")
    assert importlib.util.find_spec(module) is not None
    assert name in {"", "app"}
    assert directives(unit)["WorkingDirectory"] == [INSTALLED]


def test_uvicorn_and_dramatiq_understand_their_options() -> None:
    _, *api = command("sluice-api")
    asked = uvicorn.main.make_context("uvicorn", api).params
    assert (asked["app"], asked["host"], asked["http"]) == ("app.main:app", "127.0.0.1", "h11")
    _, *worker = command("sluice-worker")
    assert make_argument_parser().parse_args(worker).broker == "app.jobs.ingestion_job"


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_sets_only_what_there_is_to_set(unit: str) -> None:
    names = {pair.split("=")[0] for line in directives(unit)["Environment"] for pair in shlex.split(line)}
    assert names <= Settings.model_fields.keys() | {"PYTHONUNBUFFERED"}


@pytest.mark.parametrize("unit", UNITS)
def test_all_that_is_written_lies_where_it_may_be_written(unit: str) -> None:
    found = directives(unit)
    assert found["ProtectSystem"] == ["strict"]
    (writable,) = found["ReadWritePaths"]
    pairs = [pair for line in found["Environment"] for pair in shlex.split(line)]
    paths = [pair.partition("=")[2].removeprefix("file://") for pair in pairs if "/" in pair]
    assert len(paths) == 2
    assert all(path.startswith(f"{writable}/") for path in paths)
    assert found["StateDirectory"] == [Path(writable).name]


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_comes_back_for_ever_and_leaves_nobody_behind(unit: str) -> None:
    found = directives(unit)
    assert found["Restart"] == ["always"]
    assert found["StartLimitIntervalSec"] == ["0"]
    assert found.keys() >= {"RestartSec", "RestartSteps", "RestartMaxDelaySec"}
    assert found["KillMode"] == ["mixed"]
    assert found["NoNewPrivileges"] == ["yes"]


def test_a_stop_waits_longer_than_the_process_takes() -> None:
    _, *api = command("sluice-api")
    graceful_s = int(api[api.index("--timeout-graceful-shutdown") + 1])
    assert int(directives("sluice-api")["TimeoutStopSec"][0]) > graceful_s
    grace_s = Settings.model_fields["SHUTDOWN_GRACE_S"].default
    assert int(directives("sluice-worker")["TimeoutStopSec"][0]) >= grace_s + 15


def test_the_workers_may_cage_their_parsers() -> None:
    (allowed,) = directives("sluice-worker")["SystemCallFilter"]
    assert {"@system-service", "seccomp", "landlock_restrict_self"} <= set(allowed.split())
    assert "MemoryDenyWriteExecute" not in directives("sluice-worker")
    assert directives("sluice-worker")["OOMPolicy"] == ["continue"]
