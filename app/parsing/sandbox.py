"""A pool of killable parser processes.

A segfault, a bomb or a hang costs one child, and the document an error with a name. The pool belongs to one
event loop. It starts one fork server (forkserver.py) that has every parser loaded and forks the children;
pool and child talk over a socket of their own (wire.py), pool and fork server over another, which brings news
of deaths.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, Self

import structlog

import app
from app.errors import EmptyFile, OutOfMemory, ParserCrashed, ParseTimeout, StartupError, WorkerLost
from app.parsing import wire
from app.parsing.parsed_document import ParsedDocument
from app.parsing.small_text import parse_small_text
from app.parsing.wire import COMMAND, FORK, KILL

log = structlog.get_logger(__name__)

_BOOTSTRAP = """
import json, sys
path, control_fd, parent_pid, limits = json.loads(sys.argv[1])
sys.path[:] = path
from app.parsing.forkserver import main
from app.parsing.wire import Limits
main(control_fd, parent_pid, Limits(**limits))
"""
# The rest may hold passwords, and is no business of a process that reads hostile files.
_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "COVERAGE_PROCESS_START")
_START_TIMEOUT_S = 60
_DEATH_NEWS_TIMEOUT_S = 2
_STOP_TIMEOUT_S = 5
_NEWS_BYTES = 64 * 1024
# Of the memory limit; a child that dies above it has most likely been refused the rest.
_NEAR_LIMIT = 0.5
_OUT_OF_MEMORY_WORDS = ("memory allocation of", "out of memory", "bad_alloc", "Cannot allocate memory")


class _Death(Exception):
    """A child died while it was asked."""

    def __init__(self, status: int | None, *, peak_kib: int = 0, reason: str = "") -> None:
        super().__init__(status)
        self.status = status  # Exit code, or a signal's number below zero; None: the fork server is gone.
        self.peak_kib = peak_kib
        self.reason = reason


class _Child:
    """The pool's end of one child."""

    def __init__(self, number: int, connection: socket.socket) -> None:
        self.number = number
        self.connection = connection
        self.pid: int | None = None
        self.documents = 0
        self.usable = True
        self.death: asyncio.Future[_Death] = asyncio.get_running_loop().create_future()

    async def ask(self, request: bytes, file: BinaryIO, limits: wire.Limits) -> wire.Reply:
        """Send one request with its file, open for reading, and wait for the reply.

        Raises:
            ConnectionError: The child is dead, or as good as dead.
            Nonsense: The child does not keep to the protocol.
        """
        self.documents += 1
        # The connection is at rest, so there is room for the first bytes, and the file goes with those.
        sent = socket.send_fds(self.connection, [request], [file.fileno()])
        if sent < len(request):
            await asyncio.get_running_loop().sock_sendall(self.connection, request[sent:])
        header_bytes, text_bytes = wire.check_sizes(await self._receive(wire.SIZES.size), limits)
        header = await self._receive(header_bytes)
        return wire.decode_reply(header, await self._receive(text_bytes), limits)

    async def _receive(self, size: int) -> bytearray:
        loop = asyncio.get_running_loop()
        buffer = bytearray(size)
        rest = memoryview(buffer)
        while rest:
            count = await loop.sock_recv_into(self.connection, rest)
            if not count:
                raise ConnectionResetError
            rest = rest[count:]
        return buffer


class _ForkServer:
    """The pool's end of the fork server: commands go out at once, news come in by a task."""

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket) -> None:
        self.process = process
        self.control = control
        self.children: dict[int, _Child] = {}
        self.numbers = itertools.count(1)
        self.ready: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.listening = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls, limits: wire.Limits) -> Self:
        """Start the process and wait until it has loaded the parsers.

        Raises:
            StartupError: It died or hung.
        """
        control, theirs = socket.socketpair()
        with theirs:
            arguments = json.dumps([_search_path(), theirs.fileno(), os.getpid(), asdict(limits)])
            # Not asyncio's subprocess: it would need a child watcher, and the news come over the socket
            # anyway.
            process = subprocess.Popen(  # noqa: ASYNC220, S603
                [sys.executable, "-I", "-c", _BOOTSTRAP, arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ},
                pass_fds=[theirs.fileno()],
            )
        control.setblocking(False)
        server = cls(process, control)
        await server._wait_until_ready()
        return server

    async def _wait_until_ready(self) -> None:
        is_ready = False
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                is_ready = await self.ready
        except TimeoutError:
            pass
        finally:
            if not is_ready:
                await self.stop()
        if not is_ready:
            raise StartupError(f"The parser processes did not start (exit code {self.process.returncode}).")

    @property
    def is_alive(self) -> bool:
        return not self.listening.done()

    def fork(self) -> _Child:
        """A new child; that it could not be forked is told by its death."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        child = _Child(next(self.numbers), ours)
        self.children[child.number] = child
        with theirs:
            try:
                socket.send_fds(self.control, [COMMAND.pack(FORK, child.number)], [theirs.fileno()])
            except OSError:
                self._bury(child, _Death(None))
        return child

    def kill(self, child: _Child) -> None:
        child.usable = False
        child.connection.close()
        if child.number in self.children:
            with contextlib.suppress(OSError):  # The server is dead, and the child with it.
                self.control.send(COMMAND.pack(KILL, child.number))

    async def stop(self) -> None:
        """Hang up: the server kills and reaps its children, then ends. One that hangs is killed."""
        with contextlib.suppress(OSError):
            self.control.shutdown(socket.SHUT_WR)
        await asyncio.wait([self.listening], timeout=_STOP_TIMEOUT_S)
        self.process.kill()
        await asyncio.wait([self.listening])
        self.process.wait()
        self.control.close()

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        news = b""
        with contextlib.suppress(ConnectionError):
            while data := await loop.sock_recv(self.control, _NEWS_BYTES):
                *lines, news = (news + data).split(b"\n")
                for line in lines:
                    self._hear(json.loads(line))
        for child in list(self.children.values()):
            self._bury(child, _Death(None))
        if not self.ready.done():
            self.ready.set_result(False)

    def _hear(self, event: dict[str, Any]) -> None:
        if event["event"] == "ready":
            tell = log.info if event["layers"]["seccomp"] else log.warning
            tell("parser_cage", **event["layers"])
            self.ready.set_result(True)
            return
        child = self.children[event["child"]]
        if event["event"] == "forked":
            child.pid = event["pid"]
        else:
            self._bury(child, _Death(event["status"], peak_kib=event["peak_kib"], reason=event["reason"]))

    def _bury(self, child: _Child, death: _Death) -> None:
        child.usable = False
        self.children.pop(child.number, None)
        child.death.set_result(death)


def _request(path: Path, name: str | None, hint: str | None) -> bytes:
    if path.stat().st_size == 0:
        raise EmptyFile
    return wire.frame({"name": name, "hint": hint})


def _search_path() -> list[str]:
    """Where the fork server finds what this process finds, the folder of the app first."""
    folders = [str(Path(app.__file__).parent.parent), *(os.path.abspath(folder) for folder in sys.path)]  # noqa: PTH100
    return list(dict.fromkeys(folders))


class ParserPool:
    """Parses files in child processes: `async with ParserPool() as pool: await pool.parse(path, name)`.

    Open it in a thread that lives as long as the pool: the kernel ends the children with that thread.

    Args:
        processes: How many files are parsed at once; more callers wait their turn.
        timeout_s: Wall time for one file, counted from its turn on.
        memory_mb: Memory for one file, on top of what the parsers take themselves.
        max_text_chars: Longest text of a document.
        documents_per_child: After so many a child is replaced, which bounds what its libraries leak.
    """

    def __init__(
        self,
        *,
        processes: int = 2,
        timeout_s: float = 120,
        memory_mb: int = 1024,
        max_text_chars: int = 20_000_000,
        documents_per_child: int = 200,
    ) -> None:
        self._limits = wire.Limits(timeout_s, memory_mb, max_text_chars)
        self._documents_per_child = documents_per_child
        self._processes = processes
        # A slot holds a child that waits for work, or None where one has to be forked first. The child used
        # last is taken first: its memory is warm.
        self._idle: asyncio.LifoQueue[_Child | None] = asyncio.LifoQueue()
        self._server: _ForkServer | None = None
        self._starting = asyncio.Lock()
        self._closed = False

    async def __aenter__(self) -> Self:
        server = await self._running_server()
        for _ in range(self._processes):
            self._idle.put_nowait(server.fork())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def parse(self, path: Path, name: str | None = None, *, hint: str | None = None) -> ParsedDocument:
        """Read one file; its kind is told by its content, then by `name`, then by `hint` (a media type).

        A cancelled call kills its child at once.

        Raises:
            PermanentError: UnsupportedMediaType, EmptyFile, NoText, EncryptedFile, CorruptFile, TextTooLong,
                OutOfMemory, ParseTimeout or ParserCrashed.
            WorkerLost: The pool was closed meanwhile.
            OSError: The file cannot be opened.
        """
        request = _request(path, name, hint)
        try:
            reply = await self._try(request, path)
        except _Death as death:
            if not self._came_from_outside(death):
                raise self._explained(death) from None
            reply = await self._try_again(request, path)
        if reply.document is not None:
            return reply.document
        log.info("file_refused", error=repr(reply.error), detail=reply.detail)
        raise reply.error or ParserCrashed("it answered nothing")

    async def parse_content(self, content: bytes, name: str | None = None) -> ParsedDocument:
        """`parse` for a file's content; small plain text does not need a child."""
        parsed = self.parse_at_once(content, name)
        if parsed is not None:
            return parsed
        # Without a name: a worker that is killed leaves nothing of anybody's document behind.
        with tempfile.TemporaryFile() as file:
            file.write(content)
            file.flush()  # Here a full disk says so; an unbuffered write would leave the rest out.
            return await self.parse(Path(f"/dev/fd/{file.fileno()}"), name)

    def parse_at_once(self, content: bytes, name: str | None = None) -> ParsedDocument | None:
        """What `parse_content` makes of small plain text; None for all else.

        Raises:
            TextTooLong: It has too many characters.
        """
        return parse_small_text(content, name, max_text_chars=self._limits.max_text_chars)

    async def close(self) -> None:
        """Kill everything, and return when it is gone."""
        self._closed = True
        if self._server is not None:
            await self._server.stop()
        for _ in range(self._idle.qsize()):
            if (child := self._idle.get_nowait()) is not None:
                child.connection.close()
        for _ in range(self._processes):
            self._idle.put_nowait(None)  # Whoever still waits for a turn gets one, and is sent away.

    async def _try_again(self, request: bytes, path: Path) -> wire.Reply:
        """A child killed by somebody else, or with its fork server, is not the document's doing. Once."""
        try:
            return await self._try(request, path)
        except _Death as death:
            raise self._explained(death) from None

    async def _try(self, request: bytes, path: Path) -> wire.Reply:
        slot = await self._idle.get()
        child: _Child | None = None
        try:
            child = await self._ready(slot)
            # Opened here, anew for each child: a child cannot open anything, and reads from the beginning.
            with path.open("rb", buffering=0) as file:  # A local file; opening it takes no time.
                return await self._ask(child, request, file)
        finally:
            self._idle.put_nowait(self._kept(child))

    async def _ready(self, slot: _Child | None) -> _Child:
        if self._closed:
            raise WorkerLost
        if slot is not None:
            if slot.usable:
                return slot
            slot.connection.close()  # It died while it was idle.
        return (await self._running_server()).fork()

    async def _ask(self, child: _Child, request: bytes, file: BinaryIO) -> wire.Reply:
        child.usable, was_usable = False, child.usable
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                reply = await child.ask(request, file, self._limits)
        except TimeoutError:
            raise ParseTimeout(self._limits.timeout_s) from None
        except OSError:
            raise await self._death_of(child) from None
        except wire.Nonsense as error:
            raise ParserCrashed("its answer makes no sense") from error
        child.usable = was_usable and not reply.tired and child.documents < self._documents_per_child
        return reply

    def _kept(self, child: _Child | None) -> _Child | None:
        """The child itself while it may go on, else a fresh one. Cancelled calls come by here too."""
        if child is not None and child.usable:
            return child
        if self._server is None:
            return None
        if child is not None:
            self._server.kill(child)
        if not self._server.is_alive or self._closed:
            return None
        try:
            return self._server.fork()
        except OSError:  # There are no descriptors left. The slot goes back all the same, or it is lost.
            return None

    async def _running_server(self) -> _ForkServer:
        async with self._starting:
            if self._server is None or not self._server.is_alive:
                if self._server is not None:
                    await self._server.stop()
                self._server = await _ForkServer.start(self._limits)
            return self._server

    async def _death_of(self, child: _Child) -> _Death:
        """Its connection broke; how it died is told a moment later."""
        await asyncio.wait([child.death], timeout=_DEATH_NEWS_TIMEOUT_S)
        return child.death.result() if child.death.done() else _Death(None)

    def _came_from_outside(self, death: _Death) -> bool:
        """The kernel's own killer of memory hogs looks the same, but for the memory that was used."""
        return death.status in {None, -signal.SIGKILL} and not self._is_near_limit(death)

    def _is_near_limit(self, death: _Death) -> bool:
        return death.peak_kib >= _NEAR_LIMIT * 1024 * self._limits.memory_mb

    def _explained(self, death: _Death) -> Exception:
        log.warning("parser_died", status=death.status, peak_kib=death.peak_kib, reason=death.reason)
        if self._closed:
            return WorkerLost()
        if death.status == -signal.SIGXCPU:
            return ParseTimeout(self._limits.timeout_s)
        if self._is_near_limit(death) or any(words in death.reason for words in _OUT_OF_MEMORY_WORDS):
            return OutOfMemory(self._limits.memory_mb)
        if death.status is None:
            return ParserCrashed("killed together with its fork server")
        if death.status == -signal.SIGSYS:
            return ParserCrashed("it tried what no parser has a reason to do, and was killed")
        kind = f"signal {-death.status}" if death.status < 0 else f"exit code {death.status}"
        return ParserCrashed(kind)
