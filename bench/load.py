"""A light load generator: prebuilt requests over connections that stay open.

A full HTTP client takes several times what a small request costs the server, and would be what is measured.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple


class Load(NamedTuple):
    """What became of the requests of one run."""

    seconds: float
    latencies_ms: Sequence[float]  # One each, in no order.
    statuses: Mapping[int, int]  # How many answers had each.

    @property
    def per_s(self) -> float:
        return len(self.latencies_ms) / self.seconds

    def percentile_ms(self, percent: int) -> float:
        return percentile(self.latencies_ms, percent)


def percentile(values: Sequence[float], percent: int) -> float:
    """The value that so many percent of all do not exceed."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def json_post(path: str, body: Mapping[str, Any]) -> bytes:
    """A request, as it goes over the wire."""
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


async def load(port: int, requests: Sequence[bytes], *, connections: int) -> Load:
    """Send all requests to this machine's port; each connection sends the next one when it has its answer."""
    left = iter(requests)
    senders = [await _Sender.connected(port) for _ in range(connections)]
    begun = time.perf_counter()
    await asyncio.gather(*(sender.send_all(left) for sender in senders))
    seconds = time.perf_counter() - begun
    statuses = Counter(status for sender in senders for status in sender.statuses)
    return Load(seconds, [each for sender in senders for each in sender.latencies_ms], statuses)


class _Sender(asyncio.Protocol):
    """One connection. A protocol, as asyncio's streams take twice the time."""

    def __init__(self) -> None:
        self.latencies_ms: list[float] = []
        self.statuses: list[int] = []
        self._received = b""
        self._done = asyncio.get_running_loop().create_future()

    @classmethod
    async def connected(cls, port: int) -> _Sender:
        _, sender = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return sender

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    async def send_all(self, left: Iterator[bytes]) -> None:
        self._left = left
        self._send_next()
        await self._done
        self._transport.close()

    def _send_next(self) -> None:
        request = next(self._left, None)
        if request is None:
            self._done.set_result(None)
            return
        self._begun = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end or len(body) < _content_length(head):
            return
        self.latencies_ms.append((time.perf_counter() - self._begun) * 1000)
        self.statuses.append(int(head[9:12]))
        self._received = b""
        self._send_next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(error or ConnectionError("the server hung up"))


def _content_length(head: bytes) -> int:
    return int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
