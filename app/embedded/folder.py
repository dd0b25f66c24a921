"""A data folder: made private, locked by one process at a time, its troubles told in one sentence."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from app.errors import StartupError

MEBIBYTE = 1024 * 1024

REASONS = {
    errno.EACCES: "it is not writable for this user",
    errno.EPERM: "it is not writable for this user",
    errno.EROFS: "it lies on a read-only file system",
    errno.ENOSPC: "there is no space left on the disk",
    errno.EDQUOT: "the disk quota is used up",
    errno.ENOTDIR: "a part of its path is a file",
    errno.EEXIST: "there is a file of that name",
    errno.ELOOP: "its path is a loop of links",
    errno.ENAMETOOLONG: "its path is too long",
}


class FolderInUse(StartupError):
    """Another living process holds the folder."""

    code = "folder_in_use"

    def __init__(self, folder: Path, *, pid: int | None, note: str = "") -> None:
        holder = f"by process {pid}" if pid else "by another process"
        super().__init__(f"The data folder {folder} is in use {holder}{f' ({note})' if note else ''}.")
        self.folder = folder
        self.pid = pid
        self.note = note


@contextmanager
def troubles_told(folder: Path) -> Iterator[None]:
    """Turn what the file system refuses into a sentence that names the folder.

    Raises:
        StartupError: In place of any `OSError`.
    """
    try:
        yield
    except OSError as error:
        reason = REASONS.get(error.errno or 0, error.strerror or str(error))
        raise StartupError(f"The data folder {folder} cannot be used: {reason}.") from error


def make_private_folder(folder: Path) -> Path:
    """Make the folder if it is missing, for this user only, and check that files can be made in it."""
    with troubles_told(folder):
        missing = [step for step in (folder, *folder.parents) if not step.exists()]
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for step in missing:
            step.chmod(0o700)  # mkdir's mode does not reach the parents.
        probe = folder / f".probe-{secrets.token_hex(4)}"
        probe.touch()
        probe.unlink()
    return folder.resolve()


def require_space(folder: Path, needed_bytes: int) -> None:
    """Refuse to begin what the disk has no room for; a half-made database helps nobody."""
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        raise StartupError(
            f"The disk of {folder} has {free_bytes // MEBIBYTE} MB free, and a new database needs"
            f" {needed_bytes // MEBIBYTE} MB: free some space, or choose another data folder."
        )


def write_secret(path: Path, text: str) -> None:
    """Replace a file in one step; at no moment can another user read it."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def kept_password(path: Path) -> str:
    """The generated password that this file keeps, made on first use. It needs no escape in a URL."""
    if path.exists() and (password := path.read_text(encoding="utf-8").strip()):
        return password
    password = secrets.token_hex(24)
    write_secret(path, f"{password}\n")
    return password


class FolderLock:
    """One process at a time may serve a folder.

    The kernel holds the lock (`flock`), so it is gone with its process however that ends; the file's text,
    a pid and a note, only says who it is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / ".lock"
        self._handle: int | None = None

    def acquire(self, note: str = "") -> Self:
        """Take the lock, or say who has it.

        Raises:
            FolderInUse: Somebody else holds it.
            StartupError: The file cannot be made.
        """
        with troubles_told(self.folder):
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            if error.errno not in {errno.EWOULDBLOCK, errno.EACCES}:
                with troubles_told(self.folder):
                    raise
            pid, note = self._holder()
            raise FolderInUse(self.folder, pid=pid, note=note) from None
        self._handle = handle
        self.write_note(note)
        return self

    def write_note(self, note: str) -> None:
        """Leave a word (the address, for one) for whoever finds the folder locked."""
        if self._handle is None:
            raise RuntimeError("write_note() needs the lock")
        with troubles_told(self.folder):
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, f"{os.getpid()}\n{note}\n".encode(), 0)

    def release(self) -> None:
        """Give the lock back; doing it twice is harmless. The file stays, as removing it would be a race."""
        if self._handle is not None:
            os.ftruncate(self._handle, 0)
            os.close(self._handle)
            self._handle = None

    def holder(self) -> FolderInUse | None:
        """Who holds the lock now, or None. For a command that wants to stop the holder."""
        if not self.path.exists():
            return None
        try:
            self.acquire()
        except FolderInUse as in_use:
            return in_use
        self.release()
        return None

    def _holder(self) -> tuple[int | None, str]:
        pid, _, note = self.path.read_text(encoding="utf-8").strip().partition("\n")
        return (int(pid) if pid.isdigit() else None), note

    def __enter__(self) -> Self:
        return self if self._handle is not None else self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
