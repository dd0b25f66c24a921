"""Logs shown as they grow."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.cli.log_follower import LogFollower
from app.embedded.process import rotate


def test_whole_lines_are_shown_once_with_the_name_of_their_log(tmp_path: Path) -> None:
    log = tmp_path / "api.log"
    said: list[str] = []
    follower = LogFollower([log, tmp_path / "missing.log"], said.append)
    follower.look()
    with log.open("w") as file:
        for text in ("one\ntw", "o\n", "thr"):
            file.write(text)
            file.flush()
            follower.look()
    assert said == ["[api] one", "[api] two"]


def test_a_rotated_log_is_followed_from_its_new_beginning(tmp_path: Path) -> None:
    log = tmp_path / "api.log"
    log.write_text("before\n")
    said: list[str] = []
    follower = LogFollower([log], said.append)
    follower.look()
    rotate(log)
    log.write_text("after\n")
    follower.look()
    assert said == ["[api] before", "[api] after"]


def test_stopping_shows_what_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.cli.log_follower.POLL_S", 3600)
    log = tmp_path / "api.log"
    said: list[str] = []
    follower = LogFollower([log], said.append)
    follower.start()
    log.write_bytes(b"last \xff words\n")
    follower.stop()
    assert said == ["[api] last � words"]
