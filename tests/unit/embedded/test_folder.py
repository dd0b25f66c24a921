"""The data folder: private, locked, and honest about what is wrong with it."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from app.embedded.folder import (
    FolderInUse,
    FolderLock,
    kept_password,
    make_private_folder,
    require_space,
    troubles_told,
    write_secret,
)
from app.errors import StartupError


def test_new_folders_are_for_their_owner_only(tmp_path: Path) -> None:
    folder = make_private_folder(tmp_path / "a" / "b")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700


def test_a_folder_that_exists_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    make_private_folder(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o750


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(StartupError, match="there is a file of that name"):
        make_private_folder(tmp_path / "data")
    with pytest.raises(StartupError, match="a part of its path is a file"):
        make_private_folder(tmp_path / "data" / "deeper")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "not writable for this user"),
        (errno.EROFS, "read-only file system"),
        (errno.ENOSPC, "no space left on the disk"),
        (errno.EDQUOT, "quota is used up"),
        (errno.EIO, os.strerror(errno.EIO)),
    ],
)
def test_what_the_file_system_refuses_becomes_a_sentence(tmp_path: Path, number: int, words: str) -> None:
    with pytest.raises(StartupError) as told, troubles_told(tmp_path):
        raise OSError(number, os.strerror(number))
    assert words in str(told.value)
    assert str(tmp_path) in str(told.value)


def test_a_disk_without_room_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"MB free, and a new database needs \d+ MB"):
        require_space(tmp_path, 1 << 60)
    require_space(tmp_path, 1)


def test_a_secret_is_for_its_owner_only_from_the_first_moment(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write_secret(path, "one")
    write_secret(path, "two")
    assert path.read_text() == "two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_the_password_is_kept(tmp_path: Path) -> None:
    first = kept_password(tmp_path / "password")
    assert first == kept_password(tmp_path / "password")
    assert len(first) == 48
    assert first.isalnum()


def test_an_empty_password_file_is_filled(tmp_path: Path) -> None:
    (tmp_path / "password").touch()
    assert kept_password(tmp_path / "password")


def test_a_locked_folder_names_its_holder_and_the_note(tmp_path: Path) -> None:
    with FolderLock(tmp_path) as lock:
        lock.write_note("on port 8000")
        with pytest.raises(FolderInUse) as refusal:
            FolderLock(tmp_path).acquire()
    assert refusal.value.pid == os.getpid()
    assert refusal.value.note == "on port 8000"
    assert str(refusal.value) == (
        f"The data folder {tmp_path} is in use by process {os.getpid()} (on port 8000)."
    )


def test_a_lock_given_back_can_be_taken_again(tmp_path: Path) -> None:
    first = FolderLock(tmp_path).acquire()
    first.release()
    first.release()
    FolderLock(tmp_path).acquire().release()


def test_a_lock_file_that_nobody_holds_is_not_a_lock(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("1\nleft by a crash\n")
    assert FolderLock(tmp_path).holder() is None


def test_the_holder_is_told_to_who_asks(tmp_path: Path) -> None:
    assert FolderLock(tmp_path).holder() is None
    with FolderLock(tmp_path):
        holder = FolderLock(tmp_path).holder()
    assert holder is not None
    assert holder.pid == os.getpid()


def test_a_note_without_the_lock_is_a_mistake_of_the_program(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        FolderLock(tmp_path).write_note("hello")
