"""A proxy in front of PostgreSQL that lets statements be committed and loses the reply.

It reads enough of the protocol to know what a client sends: simple queries, the text of prepared statements,
and when the server is ready again. https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST = 80_877_103, 80_877_104, 80_877_102
READY = b"Z"
IDLE = b"I"


@dataclass(frozen=True, slots=True)
class Loss:
    """The first reply to statements that contain `text` is lost, and every `every`-th after it.

    The first, as there may be fewer than `every` of them: a worker claims many documents by one statement.
    """

    name: str
    text: bytes
    every: int


@dataclass
class _Link:
    """One client's connection."""

    statements: dict[bytes, bytes] = field(default_factory=dict)
    loses: str | None = None  # What the next reply that ends a statement is lost for.


class PostgresProxy:
    """Listens while the block lasts; loses nothing before it is armed."""

    def __init__(self, losses: Sequence[Loss]) -> None:
        self._losses = losses
        self._seen: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.is_armed = False
        self._target = ("", 0)
        self._links: set[asyncio.Task[None]] = set()

    def lead_to(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "", parts.port or 0)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._links:
            task.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        try:
            await self._connect(reader, writer)
        finally:
            self._links.discard(task)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_server, to_server = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        link = _Link()
        directions = {
            asyncio.create_task(self._requests(link, reader, writer, to_server)),
            asyncio.create_task(self._replies(link, from_server, writer)),
        }
        try:
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for direction in directions:
                direction.cancel()
            await asyncio.gather(*directions, return_exceptions=True)
            writer.transport.abort()
            to_server.transport.abort()

    async def _requests(
        self,
        link: _Link,
        reader: asyncio.StreamReader,
        to_client: asyncio.StreamWriter,
        to_server: asyncio.StreamWriter,
    ) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await self._start_up(reader, to_client, to_server)
            while True:
                head = await reader.readexactly(5)
                body = await reader.readexactly(struct.unpack("!i", head[1:])[0] - 4)
                self._look(link, head[:1], body)
                to_server.write(head + body)
                await to_server.drain()

    async def _start_up(
        self, reader: asyncio.StreamReader, to_client: asyncio.StreamWriter, to_server: asyncio.StreamWriter
    ) -> None:
        """The first messages have no type; encryption is refused, as our server would."""
        while True:
            head = await reader.readexactly(8)
            size, code = struct.unpack("!ii", head)
            rest = await reader.readexactly(size - 8)
            if code in {SSL_REQUEST, GSS_REQUEST}:
                to_client.write(b"N")
                continue
            to_server.write(head + rest)
            await to_server.drain()
            return

    def _look(self, link: _Link, kind: bytes, body: bytes) -> None:
        """Note what this statement is; decide whether its reply will be lost."""
        if kind == b"P":
            name, _, rest = body.partition(b"\0")
            link.statements[name] = rest.partition(b"\0")[0]
        elif kind == b"Q":
            link.loses = self._choose(body)
        elif kind == b"B":
            statement = body.split(b"\0", 2)[1]
            link.loses = self._choose(link.statements.get(statement, b""))

    def _choose(self, text: bytes) -> str | None:
        if not self.is_armed:
            return None
        for loss in self._losses:
            if loss.text in text:
                is_lost = self._seen[loss.name] % loss.every == 0
                self._seen[loss.name] += 1
                return loss.name if is_lost else None
        return None

    async def _replies(
        self, link: _Link, from_server: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await from_server.readexactly(5)
                body = await from_server.readexactly(struct.unpack("!i", head[1:])[0] - 4)
                if link.loses is None:
                    to_client.write(head + body)
                    await to_client.drain()
                elif head[:1] == READY and body == IDLE:
                    self.lost[link.loses] += 1  # It is committed now; the connection ends.
                    return
