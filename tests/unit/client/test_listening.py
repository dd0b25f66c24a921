"""What is heard while a body is sent, over connections that are made up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpcore
import httpx
import pytest

from app.client.asynchronous import listening as asynchronous
from app.client.listening import BLOCK_BYTES, HEARD_BYTES, Heard
from app.client.synchronous import listening as synchronous

REFUSED = b"HTTP/1.1 413 Content Too Large\r\n\r\n"
BODY = bytes(8 * BLOCK_BYTES)


class Wire:
    """What a server says, each block once so many bytes have come; it takes everything."""

    def __init__(self, *said: tuple[int, bytes]) -> None:
        self.said = list(said)
        self.sent_bytes = 0

    @property
    def is_readable(self) -> bool:
        return bool(self.said) and self.sent_bytes >= self.said[0][0]

    def taken(self) -> bytes:
        return self.said.pop(0)[1]


class Stream(httpcore.NetworkStream):
    def __init__(self, wire: Wire) -> None:
        self.wire = wire

    def read(self, *_: Any, **__: Any) -> bytes:
        if self.wire.is_readable:
            return self.wire.taken()
        raise httpcore.ReadError

    def write(self, buffer: bytes, *_: Any, **__: Any) -> None:
        self.wire.sent_bytes += len(buffer)

    def get_extra_info(self, info: str) -> Any:
        return info == "is_readable" and self.wire.is_readable


class AsyncStream(httpcore.AsyncNetworkStream):
    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.is_open = True

    async def read(self, *_: Any, **__: Any) -> bytes:
        while not self.wire.is_readable:
            await asyncio.sleep(0)
        return self.wire.taken()

    async def write(self, buffer: bytes, *_: Any, **__: Any) -> None:
        self.wire.sent_bytes += len(buffer)

    async def aclose(self) -> None:
        self.is_open = False

    def get_extra_info(self, info: str) -> Any:
        return info == "is_readable" and self.wire.is_readable


def with_sync(wire: Wire, *bodies: bytes) -> list[bytes]:
    stream = synchronous.ListeningStream(Stream(wire))
    answers = []
    for body in bodies:
        try:
            stream.write(body)
        except httpcore.WriteError:
            answers.append(b"refused")
        answers.append(stream.read(BLOCK_BYTES))
    return answers


def with_async(wire: Wire, *bodies: bytes) -> list[bytes]:
    async def run() -> list[bytes]:
        stream = asynchronous.ListeningStream(AsyncStream(wire))
        answers = []
        for body in bodies:
            try:
                await stream.write(body)
            except httpcore.WriteError:
                answers.append(b"refused")
            answers.append(await stream.read(BLOCK_BYTES))
        return answers

    return asyncio.run(run())


Talk = Callable[..., list[bytes]]
CLIENTS = pytest.mark.parametrize("talk", [with_sync, with_async], ids=["threads", "asyncio"])


@CLIENTS
def test_the_rest_of_a_body_that_was_refused_is_not_sent(talk: Talk) -> None:
    wire = Wire((2 * BLOCK_BYTES, REFUSED))
    assert talk(wire, BODY) == [b"refused", REFUSED]
    assert wire.sent_bytes < len(BODY)


@CLIENTS
@pytest.mark.parametrize(
    "interim", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\na: b\r\n\r\n"]
)
def test_an_interim_answer_is_none_yet(talk: Talk, interim: bytes) -> None:
    wire = Wire((2 * BLOCK_BYTES, interim))
    assert talk(wire, BODY) == [interim]
    assert wire.sent_bytes == len(BODY)
    assert talk(Wire((2 * BLOCK_BYTES, interim + REFUSED)), BODY) == [b"refused", interim + REFUSED]


@CLIENTS
def test_an_answer_that_begins_before_the_body_ends_is_no_refusal(talk: Talk) -> None:
    begun = b"HTTP/1.1 200 OK\r\n\r\n"
    wire = Wire((2 * BLOCK_BYTES, begun), (3 * BLOCK_BYTES, b"HTTP/1.1 413, said somebody\n"))
    assert talk(wire, BODY) == [begun]
    assert wire.sent_bytes == len(BODY)


@CLIENTS
def test_a_server_that_hung_up_gets_no_more(talk: Talk) -> None:
    wire = Wire((2 * BLOCK_BYTES, b""))
    assert talk(wire, BODY) == [b"refused", b""]
    assert wire.sent_bytes < len(BODY)


@CLIENTS
def test_what_was_refused_once_does_not_hold_for_the_next_request(talk: Talk) -> None:
    wire = Wire((2 * BLOCK_BYTES, REFUSED), (8 * BLOCK_BYTES, b"HTTP/1.1 201 Created\r\n\r\n"))
    assert talk(wire, BODY, BODY) == [b"refused", REFUSED, b"HTTP/1.1 201 Created\r\n\r\n"]


@CLIENTS
def test_an_answer_without_an_end_is_not_held(talk: Talk) -> None:
    block = b"HTTP/1.1 200 OK\r\n\r\n" + bytes(BLOCK_BYTES)
    wire = Wire(*[(2 * BLOCK_BYTES, block)] * 100)
    talk(wire, BODY)
    assert 100 - len(wire.said) <= HEARD_BYTES / len(block) + 1


def test_what_was_heard_is_given_out_as_it_is_asked_for() -> None:
    heard = Heard()
    heard.add(b"abc")
    heard.add(b"")
    assert [heard.take(2), heard.take(2), heard.take(2), heard.take(2)] == [b"ab", b"c", b"", None]


async def test_a_connection_that_is_closed_listens_no_more() -> None:
    inner = AsyncStream(Wire())
    stream = asynchronous.ListeningStream(inner)
    await stream.write(BODY)
    before = len(asyncio.all_tasks())
    await stream.aclose()
    assert (len(asyncio.all_tasks()), inner.is_open) == (before - 1, False)


def test_every_connection_listens_also_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    with httpx.Client() as client:
        synchronous.listen(client)
        backends = [each._pool._network_backend for each in transports(client)]
    assert [type(each) for each in backends] == [synchronous.ListeningBackend] * 2
    many = httpx.AsyncClient()
    asynchronous.listen(many)
    backends = [each._pool._network_backend for each in transports(many)]
    assert [type(each) for each in backends] == [asynchronous.ListeningBackend] * 2


def transports(client: Any) -> list[Any]:
    return [client._transport, *filter(None, client._mounts.values())]
