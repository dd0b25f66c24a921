"""PostgreSQL on a folder of ours, on the loopback interface, behind a generated password."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from app.embedded.binaries import postgres_install, runnable_by_others
from app.embedded.folder import (
    MEBIBYTE,
    FolderInUse,
    require_space,
)
from app.embedded.ports import LOOPBACK
from app.embedded.process import ServerProcess, User, reason_in, works_in
from app.embedded.server import EmbeddedServer
from app.errors import StartupError

ROLE = "sluice"
DATABASE = "sluice"
NEW_CLUSTER_BYTES = 100 * MEBIBYTE
SERVANTS = ("postgres", "nobody", "daemon")
SMALL_SHARED_MEMORY_BYTES = 256 * MEBIBYTE
PREDECESSOR_PATIENCE_S = 10.0
START_TIMEOUT_S = 120.0  # Recovery after a crash replays the log first.

SETTINGS: dict[str, str] = {
    "listen_addresses": LOOPBACK,
    # One door is enough, and a socket's path may have 107 characters at most: no place for deep folders.
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "maintenance_work_mem": "128MB",  # Building an HNSW index in less is slow.
    "wal_compression": "pglz",
    "max_wal_size": "512MB",
    "log_min_messages": "warning",
    "log_checkpoints": "off",
    "cluster_name": "sluice",
}

INITDB_OPTIONS = (
    f"--username={ROLE}",
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    # The same order of text on every machine, without the system's locales.
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--no-instructions",
)


class EmbeddedPostgres(EmbeddedServer):
    """A PostgreSQL server with pgvector, and a database `sluice` in it.

    Args:
        data_dir, port: As for every `EmbeddedServer`.
        settings: Added to, and over, `SETTINGS`; tests take `fsync=off`.
    """

    name = "PostgreSQL"
    file_stem = "postgres"
    clean_stop = signal.SIGINT  # A fast shutdown: it waits for no client.
    hard_stop = signal.SIGQUIT

    def __init__(
        self, data_dir: Path, port: int | None = None, *, settings: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(data_dir, port)
        self.settings = {**SETTINGS, **(settings or {})}

    @property
    def url(self) -> str:
        """Of the database `sluice`, for Tortoise, asyncpg and psql alike."""
        return self.url_for(DATABASE)

    def url_for(self, database: str) -> str:
        """Of any database of this server; the role may create more."""
        if self._process is None:
            raise RuntimeError("the server has no address before start()")
        return f"postgres://{ROLE}:{self._password}@{LOOPBACK}:{self.port}/{database}"

    def _start_locked(self) -> None:
        cluster = self.data_dir / "cluster"
        install, major = postgres_install()
        user = _servant(cluster)
        if user is not None:
            install = runnable_by_others(install)
        programs = install / "bin"
        if not cluster.exists():
            self._make_cluster(cluster, programs, user)
        _check_cluster(cluster, major)
        _wait_for_predecessor(cluster)
        self._serve(lambda: self._serve_on_port(cluster, programs, user))

    def _make_cluster(self, cluster: Path, programs: Path, user: User | None) -> None:
        """Initialise in a folder of another name: whatever kills us, `cluster` is whole or not there."""
        for left_over in self.data_dir.glob("cluster.new-*"):
            shutil.rmtree(left_over)
        require_space(self.data_dir, NEW_CLUSTER_BYTES)
        draft = Path(tempfile.mkdtemp(prefix="cluster.new-", dir=self.data_dir))
        try:
            _own(draft, user)
            with reachable(draft, user) as (path, descriptors), _password_pipe(self._password, user) as pipe:
                options = [*INITDB_OPTIONS, f"--pwfile=/dev/fd/{pipe}"]
                if self.settings.get("fsync") == "off":
                    options.append("--no-sync")
                self._run([str(programs / "initdb"), "-D", path, *options], user, [*descriptors, pipe])
                single = [str(programs / "postgres"), "--single", "-D", path, "postgres"]
                self._run(single, user, descriptors, stdin=f"CREATE DATABASE {DATABASE}\n")
            draft.rename(cluster)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise

    def _run(self, command: list[str], user: User | None, descriptors: list[int], stdin: str = "") -> None:
        """Run one of the set-up programs to its end."""
        log_path = self.data_dir / "initdb.log"
        with tempfile.TemporaryFile() as words:
            words.write(stdin.encode())
            words.seek(0)
            program = ServerProcess(
                command,
                name="initdb",
                log_path=log_path,
                last_wish=signal.SIGKILL,
                environment=_environment(),
                user=user,
                stdin=words.fileno(),
                keep_open=descriptors,
                cwd=Path("/"),
            )
            try:
                exit_code = program.wait()
            finally:
                program.stop()
        if exit_code != 0:
            raise StartupError(f"The database could not be made: {reason_in(log_path)}")

    def _serve_on_port(self, cluster: Path, programs: Path, user: User | None) -> ServerProcess:
        settings = {"dynamic_shared_memory_type": _shared_memory_type(), **self.settings}
        with reachable(cluster, user) as (path, descriptors):
            options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
            process = ServerProcess(
                [str(programs / "postgres"), "-D", path, "-p", str(self.port), *options],
                name=self.name,
                log_path=self.log_path,
                last_wish=self.clean_stop,
                environment=_environment(),
                user=user,
                keep_open=descriptors,
                cwd=Path("/"),
            )
        return self._ready(process, lambda: _is_ready(cluster, process.pid), START_TIMEOUT_S)


@contextmanager
def reachable(folder: Path, user: User | None) -> Iterator[tuple[str, list[int]]]:
    """A path by which `user` can enter the folder, and the descriptors to inherit for it.

    The folder is the user's, but those above it may be closed (root's home, our own 0700). A path through
    an open descriptor skips them, so nobody's permissions have to change.
    """
    if user is None or not Path("/proc/self/fd").is_dir():
        yield str(folder), []
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{handle}", [handle]
    finally:
        os.close(handle)


@contextmanager
def _password_pipe(password: str, user: User | None) -> Iterator[int]:
    """A descriptor to read the password from: initdb wants a file, and nobody else shall find one."""
    reader, writer = os.pipe()
    try:
        os.write(writer, f"{password}\n".encode())
        os.close(writer)
        if user is not None:
            os.fchown(reader, user.uid, user.gid)  # /dev/fd opens it anew, which only its owner may.
        yield reader
    finally:
        os.close(reader)


def _servant(cluster: Path) -> User | None:
    """Whom to run as: ourselves, or, for root (whom PostgreSQL refuses), the cluster's owner or a servant."""
    if os.geteuid() != 0:
        return None
    if cluster.exists() and (owner := cluster.stat()).st_uid != 0:
        return User(owner.st_uid, owner.st_gid)
    for name in SERVANTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return User(entry.pw_uid, entry.pw_gid)
    raise StartupError(f"PostgreSQL does not run as root, and there is no user {' or '.join(SERVANTS)} here.")


def _own(folder: Path, user: User | None) -> None:
    if user is not None:
        os.chown(folder, user.uid, user.gid)


def _check_cluster(cluster: Path, major: int) -> None:
    if os.geteuid() not in {0, cluster.stat().st_uid}:
        raise StartupError(f"The database in {cluster} belongs to another user of this machine.")
    version_file = cluster / "PG_VERSION"
    stored = version_file.read_text().strip() if version_file.exists() else "(none)"
    if stored != str(major):
        raise StartupError(
            f"The database in {cluster} was written by PostgreSQL {stored}, and this Sluice brings {major}:"
            f" dump it with the old version, or choose another data folder."
        )


def _wait_for_predecessor(cluster: Path) -> None:
    """After a crash, let the old server finish, or clear away the pid file that it left.

    PostgreSQL would take any living process with that number for its predecessor.
    """
    pid_file = cluster / "postmaster.pid"
    deadline = time.monotonic() + PREDECESSOR_PATIENCE_S
    while (pid := _pid_in(pid_file)) is not None:
        if not works_in(pid, cluster):
            pid_file.unlink(missing_ok=True)
            return
        if time.monotonic() > deadline:
            raise FolderInUse(cluster.parent, pid=pid, note="a PostgreSQL server")
        time.sleep(0.05)


def _pid_in(pid_file: Path) -> int | None:
    try:
        first_line = pid_file.read_text().split("\n", 1)[0].strip()
    except FileNotFoundError:
        return None
    return int(first_line) if first_line.isdigit() else 0


def _is_ready(cluster: Path, pid: int) -> bool:
    """The server writes its state as the last line of its pid file; pg_ctl reads it there too."""
    try:
        lines = (cluster / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"


def _shared_memory_type() -> str:
    """Containers often have 64 MB of /dev/shm, less than building an index in parallel takes."""
    try:
        total = shutil.disk_usage("/dev/shm").total  # noqa: S108  # Asked for its size only.
    except OSError:
        total = 0
    return "posix" if total >= SMALL_SHARED_MEMORY_BYTES else "mmap"


def _environment() -> dict[str, str]:
    """Nothing of ours: PGDATA, PGPORT and the like would change what the programs do."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
