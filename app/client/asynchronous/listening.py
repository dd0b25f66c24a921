"""Listens while it sends, for asyncio. Written by hand, like its counterpart.

A server refuses a body as soon as it can and hangs up, so that sending fails. HTTP has clients look for an
answer all the time (RFC 9112, 9.5); httpcore looks when sending has failed, and that is too late here:
asyncio closes a connection at the first write that fails, with all that came in and was not read.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import Any

import httpcore
import httpx

from app.client.listening import BLOCK_BYTES, Heard, blocks

#: Of the event loop, until what waits in a socket has been read: one to begin, one to see it, one to take it.
TURNS = 4


def listen(client: httpx.AsyncClient) -> None:
    """Have all connections of a client listen while they send."""
    # A transport given from outside would switch off the environment's proxies; those have theirs here.
    for transport in (client._transport, *client._mounts.values()):
        if isinstance(transport, httpx.AsyncHTTPTransport):
            pool = transport._pool
            pool._network_backend = ListeningBackend(pool._network_backend)


class ListeningBackend(httpcore.AsyncNetworkBackend):
    """Opens connections that listen."""

    def __init__(self, backend: httpcore.AsyncNetworkBackend) -> None:
        self._backend = backend

    async def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.AsyncNetworkStream:
        return ListeningStream(await self._backend.connect_tcp(*args, **kwargs))

    async def connect_unix_socket(self, *args: Any, **kwargs: Any) -> httpcore.AsyncNetworkStream:
        return ListeningStream(await self._backend.connect_unix_socket(*args, **kwargs))

    async def sleep(self, seconds: float) -> None:
        await self._backend.sleep(seconds)


class ListeningStream(httpcore.AsyncNetworkStream):
    """A connection; the rest of a body that was refused is not sent, and the answer is read."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._heard = Heard()
        self._listening: asyncio.Task[None] | None = None
        self._is_sending = False
        self._sent_bytes = 0  # Of this request.

    # httpcore names the timeouts.
    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Send.

        Raises:
            httpcore.WriteError: The connection is broken, or what is sent was refused. After that, httpcore
                reads the answer.
        """
        if not self._is_sending:
            self._is_sending, self._sent_bytes, self._heard = True, 0, Heard()
        for block in blocks(buffer):
            if self._sent_bytes >= BLOCK_BYTES:
                await self._listen()
                if self._heard.is_over:
                    raise httpcore.WriteError("The answer has come before the end of the body.")
            await self._stream.write(block, timeout)
            self._sent_bytes += len(block)

    async def _listen(self) -> None:
        if self._listening is None:
            self._listening = asyncio.create_task(self._hear())
        if self._stream.get_extra_info("is_readable"):
            # Whatever held us up since the last block, a slow disk perhaps: read first, then write.
            for _ in range(TURNS):
                await asyncio.sleep(0)

    async def _hear(self) -> None:
        with suppress(httpcore.NetworkError, ssl.SSLError):  # Whoever reads next is told.
            while not self._heard.is_enough:
                self._heard.add(await self._stream.read(BLOCK_BYTES))

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        await self._stop_listening()
        self._is_sending = False
        heard = self._heard.take(max_bytes)
        return await self._stream.read(max_bytes, timeout) if heard is None else heard

    async def _stop_listening(self) -> None:
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.cancel()  # It waits for bytes, and loses none.
            await asyncio.wait({listening})

    async def aclose(self) -> None:
        try:
            await self._stop_listening()
        finally:
            await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        return ListeningStream(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
