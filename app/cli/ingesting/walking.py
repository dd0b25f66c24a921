"""Which files a call means: those that were named, and all below the folders that were."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

STDIN = "-"


@dataclass(frozen=True, slots=True)
class File:
    """A file to be taken in.

    Args:
        label: What to call it; different for all files of a call.
        external_id: The name that it goes by on the server; None for what has no name, only content.
        path: Where it is; None when `content` is all there is.
    """

    label: str
    external_id: str | None
    size_bytes: int
    path: Path | None = None
    content: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What was found and is not sent, and why.

    Args:
        name: Its path below what was named on the command line.
    """

    path: Path
    reason: str
    name: str


class TwoOfOneName(ValueError):
    """Two files would be one document, each a new version of the other."""

    def __init__(self, first: Path, second: Path, name: str) -> None:
        super().__init__(
            f"{first} and {second} would both be the document {name!r}: name a folder above both of them,"
            " or give each call a --prefix."
        )


class Walk:
    """Collects files; below a path that is given, each folder is looked into once, whatever links lead to it.

    A link that leads out of the folder given is not followed: what somebody put there could take in, and make
    searchable, whatever the caller can read. By its own name, a link is wanted wherever it leads.

    Args:
        prefix: Put before the external ids.
        exclude: Patterns as shells have them, of names or of paths below the folder given.
    """

    def __init__(self, *, prefix: str = "", exclude: Sequence[str] = ()) -> None:
        self.files: dict[str, File] = {}
        self.left_out: list[LeftOut] = []
        self.unreadable: list[LeftOut] = []
        self._prefix = prefix
        self._exclude = exclude
        self._seen: set[tuple[int, int]] = set()

    def add(self, paths: Iterable[Path]) -> None:
        """Everything that the paths mean.

        Raises:
            FileNotFoundError: There is nothing at one of them.
            TwoOfOneName: Their documents cannot be told apart.
        """
        for path in paths:
            if stat.S_ISDIR(path.stat().st_mode):
                self._add_folder(path, root=path)
            else:
                self._add_file(path, root=path.parent, is_named=True)

    def add_below(self, root: Path, path: Path) -> None:
        """What there is now at a path below a root that was walked before; nothing if it is gone."""
        places = [path, *path.parents]
        if any(self._is_unwanted(place, root) for place in places[: places.index(root)]):
            return
        if path.is_dir():
            self._add_folder(path, root=root)
        elif path.exists():
            self._add_file(path, root=root)

    def _add_folder(self, folder: Path, *, root: Path) -> None:
        self._seen = set()  # A folder that is named beside one above it is wanted by that name, too.
        # Links come last, so that what is reached in two ways goes by its own name.
        folders, links = deque([folder]), deque[Path]()
        while folders or links:
            following = folders.popleft() if folders else links.popleft()
            if not self._is_new(following):
                self._leave_out(following, root, "a link to a folder that is walked anyway")
                continue
            try:
                with os.scandir(following) as found:
                    entries = sorted(found, key=lambda entry: entry.name)
            except OSError as error:
                self._miss(following, root, error)
                continue
            for entry in entries:
                path = following / entry.name
                if self._is_unwanted(path, root):
                    continue
                if not _is_folder(entry):
                    self._add_file(path, root=root)
                elif entry.is_symlink():
                    links.append(path)
                else:
                    folders.append(path)

    def _is_new(self, folder: Path) -> bool:
        try:
            info = folder.stat()
        except OSError:
            return True  # Looking into it will say what is wrong.
        place = (info.st_dev, info.st_ino)
        is_new = place not in self._seen
        self._seen.add(place)
        return is_new

    def _is_unwanted(self, path: Path, root: Path) -> bool:
        below = path.relative_to(root).as_posix()
        if path.name.startswith("."):
            self._leave_out(path, root, "hidden: its name begins with a dot")
        elif any(fnmatch(path.name, each) or fnmatch(below, each) for each in self._exclude):
            self._leave_out(path, root, "excluded")
        elif path.is_symlink() and not _is_inside(path, root):
            self._leave_out(path, root, "a link that leads out of the folder")
        else:
            return False
        return True

    def _leave_out(self, path: Path, root: Path, reason: str) -> None:
        self.left_out.append(LeftOut(path, reason, path.relative_to(root).as_posix()))

    def _miss(self, path: Path, root: Path, error: OSError) -> None:
        name = path.relative_to(root).as_posix()
        self.unreadable.append(LeftOut(path, error.strerror or str(error), name))

    def _add_file(self, path: Path, *, root: Path, is_named: bool = False) -> None:
        try:
            info = path.stat()
        except OSError as error:
            self._miss(path, root, error)
            return
        is_file = stat.S_ISREG(info.st_mode)
        if not is_file and is_named:
            self._keep_pipe(path)
        elif not is_file:
            self._leave_out(path, root, "neither a file nor a folder")
        elif info.st_size == 0 and not is_named:
            self._leave_out(path, root, "empty")
        else:
            self._keep(path, self._prefix + path.relative_to(root).as_posix(), info.st_size)

    def _keep_pipe(self, path: Path) -> None:
        """`<(command)` of a shell, for one: it can be read once, and has no name that means anything."""
        content = path.read_bytes()
        self.files[str(path)] = File(str(path), None, len(content), content=content)

    def _keep(self, path: Path, name: str, size_bytes: int) -> None:
        before = self.files.get(name)
        if before is not None and before.path is not None and not before.path.samefile(path):
            raise TwoOfOneName(before.path, path, name)
        self.files[name] = File(name, name, size_bytes, path)


def _is_inside(path: Path, root: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # A link that leads nowhere, or to itself.
