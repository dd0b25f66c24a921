"""The walls around real children: each breach is tried from inside, and the next document is read."""

from __future__ import annotations

import logging
import os
import platform
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from app.errors import OutOfMemory, ParserCrashed, ParseTimeout
from app.parsing import cage, registry, sandbox
from app.parsing.cage import Layers
from app.parsing.sandbox import ParserPool
from tests.breaches import BREACHES, document

PATIENCE_S = 20
ROOT = Path(__file__).parents[3]
SECRET = "the passwords of others"
HERE = Layers(own_user=os.geteuid() == 0, landlock=cage._landlock_version(), seccomp=True)
# Puts the tests' parser in place of the app's for plain text; `more` comes before the children are forked.
BOOTSTRAP = """
import json, os, sys
sys.path[:] = json.loads(sys.argv[1])[0]
from app.parsing import cage, registry
from tests import breaches
sys.modules["app.parsing.breaches"] = breaches
registry._PARSERS["text/plain"] = ("breaches", "parse")
registry.preload()
"""
AS_AN_ORDINARY_USER = """
if os.geteuid() == 0:
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
"""
BROKEN_FILTER = """
def broken(): raise OSError(1, "not any more")
cage._filter_calls = broken
"""


class Breaching:
    """A pool whose children do as they are told, and what is around that is worth a breach."""

    def __init__(self, pool: ParserPool, folder: Path) -> None:
        self.pool = pool
        self.folder = folder

    async def ask(self, breach: str, **arguments: Any) -> str:
        path = self.folder / "breach.txt"
        path.write_text(document(breach, **arguments))
        return (await self.pool.parse(path)).text

    async def outcome(self, breach: str, **arguments: Any) -> str:
        """`refused`, `killed`, or what the child tells of its success; it or its heir goes on afterwards."""
        try:
            told = await self.ask(breach, **arguments)
        except ParserCrashed as error:
            told = "killed" if "no parser has a reason" in error.reason else error.reason
        assert await self.ask("nothing") == "done"
        return "refused" if told.startswith("refused") else told


@asynccontextmanager
async def breaching(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    *,
    layers: Layers | None = None,
    more: str = "",
    **limits: Any,
) -> AsyncIterator[Breaching]:
    """A pool of children that try breaches, in these layers, or in all that are to be had."""
    given = f"cage.find_layers = lambda: cage.{layers!r}" if layers is not None else ""
    with monkeypatch.context() as patched:
        patched.setattr(sandbox, "_BOOTSTRAP", "\n".join([BOOTSTRAP, more, given, sandbox._BOOTSTRAP]))
        async with ParserPool(processes=1, **({"timeout_s": PATIENCE_S, "memory_mb": 256} | limits)) as pool:
            yield Breaching(pool, folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    return tmp_path


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


@pytest.fixture
def victim() -> Iterator[int]:
    """A process of ours that a breach would like to end."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process.pid
        process.communicate(b"\n")
        assert process.returncode == 0


@pytest.fixture
def around(listener: socket.socket, victim: int) -> tuple[socket.socket, int]:
    return listener, victim


def attempts(folder: Path, listener: socket.socket, victim: int) -> dict[str, dict[str, Any]]:
    """Every breach, with what it is tried on."""
    secret, new = str(folder / "secret"), str(folder / "new")
    address = list(listener.getsockname())
    given: dict[str, dict[str, Any]] = {
        "connect over TCP": {"address": address},
        "send over UDP": {"address": address},
        "connect to a socket in the file system": {"path": new},
        "connect to an abstract socket": {"name": "sluice"},
        "list": {"path": str(folder)},
        "follow a link": {"path": str(folder / "link")},
        "make a call by its number": {"number": 0x40000000 + 39},
    }
    news = {"run a program", "run a command", "make", "make a folder", "make a link", "make a pipe"}
    on_secret = {
        "read", "see that there is", "write", "append", "empty by opening", "truncate", "rename", "remove",
        "change the mode", "change the time", "make a hard link",
    }  # fmt: skip
    given |= {name: {"path": new} for name in news} | {name: {"path": secret} for name in on_secret}
    on_victim = {"kill a process", "kill a thread of another", "have signals sent"}
    given |= {name: {"pid": victim} for name in on_victim}
    return {name: given.get(name, {}) for name in BREACHES}


def snapshot(folder: Path) -> dict[str, tuple[int, float, str]]:
    return {
        path.name: (path.lstat().st_mode, path.lstat().st_mtime, path.read_text())
        for path in folder.iterdir()
        if path.name != "breach.txt"
    }


# What libraries may ask for in vain; all else that is forbidden ends the child.
REFUSED = {
    "run a program", "have signals sent", "see the parent's environment", "read", "see that there is", "list",
    "follow a link", "know the working folder", "make a file in memory", "write to the document",
    "lock the document", "map new code", "make memory run", "have more memory", "be root", "change the clock",
}  # fmt: skip
POSSIBLE = {"nothing", "open numbers", "environment", "who"}
LIMITED = {"burn", "eat", "abort", "read nowhere", "load a module", "die"}  # In tests of their own.
if platform.machine() != "x86_64":  # The number is of x86_64's other table; elsewhere nobody knows it.
    REFUSED.add("make a call by its number")


@pytest.mark.parametrize(
    ("layers", "more"),
    [
        (None, ""),
        (Layers(seccomp=True), ""),
        (Layers(seccomp=True), AS_AN_ORDINARY_USER),
        (None, AS_AN_ORDINARY_USER),
        (None, "cage._give_up_privileges()"),
    ],
    ids=[
        "all",
        "seccomp alone",
        "seccomp alone, ordinary user",
        "all, ordinary user",
        "all, no capabilities",
    ],
)
async def test_every_breach_is_refused_or_ends_the_child_and_the_next_document_is_read(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    around: tuple[socket.socket, int],
    layers: Layers | None,
    more: str,
) -> None:
    before = snapshot(folder)
    tried = {
        name: arguments
        for name, arguments in attempts(folder, *around).items()
        if name not in POSSIBLE | LIMITED
    }
    async with breaching(monkeypatch, folder, layers=layers, more=more) as children:
        outcomes = {name: await children.outcome(name, **arguments) for name, arguments in tried.items()}

    assert outcomes == {name: "refused" if name in REFUSED else "killed" for name in tried}
    assert snapshot(folder) == before
    with pytest.raises(BlockingIOError):
        around[0].accept()


# Version of Landlock → what it refuses from then on.
BY_LANDLOCK = {
    1: {
        "become a program", "spawn", "see the parent's environment", "read", "list", "make", "write",
        "append", "rename", "remove", "make a folder", "make a link", "make a pipe", "trace the parent",
        "open the document for writing",
    },
    3: {"truncate", "empty by opening"},
    4: {"connect over TCP", "listen"},
    6: {"kill the parent", "kill a process", "kill a thread of another"},
}  # fmt: skip


async def test_landlock_alone_keeps_children_from_files_programs_tcp_and_other_processes(
    monkeypatch: pytest.MonkeyPatch, folder: Path, around: tuple[socket.socket, int]
) -> None:
    kept_from = {name for since, names in BY_LANDLOCK.items() if since <= HERE.landlock for name in names}
    before = snapshot(folder)
    tried = {
        name: given for name, given in attempts(folder, *around).items() if name in kept_from | {"nothing"}
    }
    async with breaching(monkeypatch, folder, layers=Layers(landlock=HERE.landlock)) as children:
        outcomes = {name: await children.outcome(name, **given) for name, given in tried.items()}

    assert outcomes == dict.fromkeys(kept_from, "refused") | {"nothing": "done"}
    assert snapshot(folder) == before
    with pytest.raises(BlockingIOError):
        around[0].accept()


async def test_a_child_of_root_is_a_user_of_its_own_who_may_do_nothing_to_root(
    monkeypatch: pytest.MonkeyPatch, folder: Path, victim: int
) -> None:
    user = cage._NOBODY_ELSE if HERE.own_user else os.geteuid()
    group = cage._NOBODY_ELSE if HERE.own_user else os.getegid()
    secret = str(folder / "secret")
    async with breaching(monkeypatch, folder, layers=Layers(own_user=HERE.own_user)) as children:
        assert await children.outcome("who") == str([user, user, group, group])
        # Of an ordinary user this says that nobody becomes root.
        outcomes = [await children.outcome("be root")]
        if HERE.own_user:
            outcomes += [
                await children.outcome("read", path=secret),
                await children.outcome("write", path=secret),
                await children.outcome("kill a process", pid=victim),
                await children.outcome("fork"),
            ]
    assert set(outcomes) == {"refused"}


async def test_children_inherit_no_files_and_no_secrets(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://secret")
    # As if a library had left these open in the fork server.
    leaks = "os.set_inheritable(os.open('/etc/passwd', 0), True); os.dup2(os.open('/', 0), 200)"
    async with breaching(monkeypatch, folder, more=leaks) as children:
        # Standard streams, connection, its own size (/proc/self/statm), the document.
        assert len((await children.ask("open numbers")).split(",")) == 6
        assert "DATABASE_URL" not in await children.ask("environment")


def lines_of(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


async def test_the_kernel_says_that_a_child_is_locked_in(tmp_path: Path) -> None:
    text = tmp_path / "a.txt"
    text.write_text("Grüße")
    async with ParserPool(processes=1) as pool:
        await pool.parse(text)
        assert pool._server is not None
        (child,) = pool._server.children.values()
        status = dict(line.split(":\t", 1) for line in lines_of(f"/proc/{child.pid}/status"))
    assert (status["NoNewPrivs"], status["Seccomp"], status["Threads"]) == ("1", "2", "1")
    assert {int(status[f"Cap{kind}"], 16) for kind in ("Inh", "Prm", "Eff", "Amb")} == {0}
    assert status["Uid"].split() == [str(cage._NOBODY_ELSE if HERE.own_user else os.getuid())] * 4


@pytest.mark.parametrize(
    ("layers", "level"),
    [(HERE, logging.INFO), (Layers(seccomp=True), logging.INFO), (Layers(landlock=1), logging.WARNING)],
)
async def test_the_log_says_once_which_layers_hold(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
    layers: Layers,
    level: int,
) -> None:
    async with breaching(monkeypatch, folder, layers=None if layers == HERE else layers) as children:
        await children.outcome("fork" if layers.seccomp else "nothing")
    (record,) = [record for record in caplog.records if "parser_cage" in record.getMessage()]
    assert record.levelno == level
    assert isinstance(record.msg, dict)
    told = {name: record.msg[name] for name in ("own_user", "landlock", "seccomp")}
    assert told == {"own_user": layers.own_user, "landlock": layers.landlock, "seccomp": layers.seccomp}


async def test_a_layer_that_held_at_start_and_does_not_any_more_lets_no_document_through(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    async with breaching(monkeypatch, folder, layers=Layers(seccomp=True), more=BROKEN_FILTER) as children:
        with pytest.raises(ParserCrashed, match="exit code 1"):
            await children.ask("nothing")


# --- Children that do not come back ------------------------------------------------------------------------


async def test_a_child_that_dies_twice_of_a_document_is_its_end_and_not_the_next_ones(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    async with breaching(monkeypatch, folder, layers=Layers()) as children:
        await children.ask("nothing")
        assert children.pool._server is not None
        before = next(children.pool._server.numbers)
        with pytest.raises(ParserCrashed, match="signal 9"):
            await children.ask("die")
        # One was there, one was forked to try again, one for the next document.
        assert next(children.pool._server.numbers) - before == 3
        assert await children.ask("nothing") == "done"


@pytest.mark.parametrize(
    ("breach", "error", "words"),
    [
        ("abort", ParserCrashed, "signal 6"),
        ("read nowhere", ParserCrashed, "signal 11"),
        ("fork bomb", ParserCrashed, "no parser has a reason"),
        ("eat", OutOfMemory, "256"),
        ("burn", ParseTimeout, "1"),
    ],
)
async def test_a_child_that_crashes_eats_burns_or_multiplies_has_the_right_error(
    monkeypatch: pytest.MonkeyPatch, folder: Path, breach: str, error: type[Exception], words: str
) -> None:
    async with breaching(monkeypatch, folder, timeout_s=1) as children:
        with pytest.raises(error, match=words):
            await children.ask(breach)
        assert await children.ask("nothing") == "done"


# --- What the cage must not change -------------------------------------------------------------------------

JAPANESE, CHINESE, KOREAN = "日本語の文章です。", "中文文章很長。", "한국어 문장입니다. "
RUSSIAN, GERMAN = "Привет мир, это текст. ", "Größe, naïve. "
TEXTS = {
    "shift_jis": JAPANESE, "euc_jp": JAPANESE, "iso2022_jp": JAPANESE, "utf-16": JAPANESE, "gb18030": CHINESE,
    "big5": CHINESE, "euc_kr": KOREAN, "windows-1251": RUSSIAN, "koi8-r": RUSSIAN, "cp437": GERMAN,
    "iso-8859-15": GERMAN, "utf-7": GERMAN,
}  # fmt: skip
MAIL = """From: =?{encoding}?q?a?= <a@b.c>
To: d@e.f
Date: Tue, 1 Oct 2024 10:00:00 +0200
MIME-Version: 1.0
Content-Type: text/plain; charset="{encoding}"
Content-Transfer-Encoding: 8bit

"""


def readable_files(folder: Path) -> Iterator[Path]:
    """A file of every kind, and texts in encodings that Python loads when they are first named."""
    yield from sorted(path for path in (ROOT / "samples").iterdir() if path.is_file())
    for encoding, sentence in TEXTS.items():
        text = 10 * sentence
        contents = {
            "txt": text.encode(encoding),
            "csv": f"a,b\n{text},c\n".encode(encoding),
            "xml": f'<?xml version="1.0" encoding="{encoding}"?><r><p>{text}</p></r>'.encode(encoding),
            "html": f'<html><head><meta charset="{encoding}"></head>{text}</html>'.encode(encoding),
            "eml": MAIL.format(encoding=encoding).encode() + text.encode(encoding),
        }
        for ending, content in contents.items():
            path = folder / f"{encoding}.{ending}"
            path.write_bytes(content)
            yield path


def read_here(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return repr(registry.parse(file, name=path.name, max_text_chars=1_000_000))
    except Exception as error:
        return repr(error)


async def test_what_is_read_in_the_cage_is_what_is_read_outside(tmp_path: Path) -> None:
    seen = 0
    async with ParserPool(processes=1, max_text_chars=1_000_000) as pool:
        for path in readable_files(tmp_path):
            try:
                inside = repr(await pool.parse(path, path.name))
            except Exception as error:
                inside = repr(error)
            assert inside == read_here(path), path.name
            seen += "ParsedDocument" in inside
    assert seen > 50
