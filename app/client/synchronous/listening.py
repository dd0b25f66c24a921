"""Listens while it sends, for threads. Written by hand, like its counterpart.

A server refuses a body as soon as it can and hangs up, so that sending fails. HTTP has clients look for an
answer all the time (RFC 9112, 9.5); httpcore looks when sending has failed, and by then some systems have
thrown it away.
"""

from __future__ import annotations

import ssl
from typing import Any

import httpcore
import httpx

from app.client.listening import BLOCK_BYTES, Heard, blocks


def listen(client: httpx.Client) -> None:
    """Have all connections of a client listen while they send."""
    # A transport given from outside would switch off the environment's proxies; those have theirs here.
    for transport in (client._transport, *client._mounts.values()):
        if isinstance(transport, httpx.HTTPTransport):
            pool = transport._pool
            pool._network_backend = ListeningBackend(pool._network_backend)


class ListeningBackend(httpcore.NetworkBackend):
    """Opens connections that listen."""

    def __init__(self, backend: httpcore.NetworkBackend) -> None:
        self._backend = backend

    def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        return ListeningStream(self._backend.connect_tcp(*args, **kwargs))

    def connect_unix_socket(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        return ListeningStream(self._backend.connect_unix_socket(*args, **kwargs))

    def sleep(self, seconds: float) -> None:
        self._backend.sleep(seconds)


class ListeningStream(httpcore.NetworkStream):
    """A connection; the rest of a body that was refused is not sent, and the answer is read."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream
        self._heard = Heard()
        self._is_sending = False
        self._sent_bytes = 0  # Of this request.

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send.

        Raises:
            httpcore.WriteError: The connection is broken, or what is sent was refused. After that, httpcore
                reads the answer.
        """
        if not self._is_sending:
            self._is_sending, self._sent_bytes, self._heard = True, 0, Heard()
        for block in blocks(buffer):
            if self._sent_bytes >= BLOCK_BYTES:
                self._listen()
                if self._heard.is_over:
                    raise httpcore.WriteError("The answer has come before the end of the body.")
            self._stream.write(block, timeout)
            self._sent_bytes += len(block)

    def _listen(self) -> None:
        """Read what is there, without waiting: under TLS, that may be nothing for us."""
        while not self._heard.is_enough and self._stream.get_extra_info("is_readable"):
            try:
                self._heard.add(self._stream.read(BLOCK_BYTES, 0))
            except httpcore.NetworkError:
                return  # Nothing yet; or if it is broken, whoever writes or reads next is told.

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self._is_sending = False
        heard = self._heard.take(max_bytes)
        return self._stream.read(max_bytes, timeout) if heard is None else heard

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return ListeningStream(self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
