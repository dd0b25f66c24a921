"""Tells a receiver what happened: one signed request, to an address that was looked at first."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Self

import anyio
import httpcore

from app import __version__
from app.errors import AddressRefused
from app.models.webhook_delivery import Outcome

#: Of the name's look-up and the connection; of all of it.
CONNECT_TIMEOUT_S = 5.0
TIMEOUT_S = 15.0

#: What is read of an answer's body, and thrown away: the status says it all.
MOST_ANSWER_BYTES = 4096

SECRET_PREFIX = "whsec_"  # noqa: S105
SECRET_BYTES = range(24, 65)

#: IPv4 addresses in the clothes of IPv6 (RFC 6052), as a gateway of this network would take them off.
NAT64 = ipaddress.ip_network("64:ff9b::/96")

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


# --- secrets ------------------------------------------------------------------------------------------------


def new_secret() -> str:
    """32 random bytes, as Standard Webhooks writes them."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def key_of(secret: str) -> bytes:
    """The bytes of a secret.

    Raises:
        ValueError: It is not written as Standard Webhooks has it.
    """
    if not secret.startswith(SECRET_PREFIX):
        raise ValueError(f"must begin with {SECRET_PREFIX}")
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    if len(key) not in SECRET_BYTES:
        raise ValueError("must have 24 to 64 bytes, in base64")
    return key


def signature(secret: str, *, message_id: str, timestamp: int, body: bytes) -> str:
    """`webhook-signature` by Standard Webhooks: HMAC-SHA256 of `id.timestamp.body`."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key_of(secret), signed, hashlib.sha256)).decode()


# --- addresses ----------------------------------------------------------------------------------------------


def is_public(address: IPAddress) -> bool:
    """Whether it may be anybody's: not of this machine, this network, or a group."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if address in NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def check_host(host: str) -> None:
    """Refuse what can be refused without a look-up: an address as such, and the name of this machine.

    Raises:
        AddressRefused: It is not public.
    """
    name = host.rstrip(".").lower()
    is_local = name == "localhost" or name.endswith(".localhost")
    with suppress(ValueError):
        is_local = is_local or not is_public(ipaddress.ip_address(name.strip("[]").partition("%")[0]))
    if is_local:
        raise AddressRefused(host)


class _Names:
    """Looks names up, each once for all who ask meanwhile, in a thread for each.

    The loop's own threads for that are few and everybody's: a name server that is silent keeps one for half a
    minute, and nobody could connect to anything by its name. These are left alone when the process ends.
    """

    def __init__(self) -> None:
        self._under_way: dict[str, asyncio.Future[list[str]]] = {}

    async def addresses(self, host: str) -> list[str]:
        """All of a name, best first.

        Raises:
            OSError: It has none.
        """
        looking = self._under_way.get(host)
        if looking is None:
            loop = asyncio.get_running_loop()
            looking = self._under_way[host] = loop.create_future()
            looking.add_done_callback(lambda _: self._under_way.pop(host))
            threading.Thread(target=_look_up, args=(host, loop, looking), name="names", daemon=True).start()
        return await asyncio.shield(looking)


def _look_up(host: str, loop: asyncio.AbstractEventLoop, looking: asyncio.Future[list[str]]) -> None:
    tell: Callable[[], None]
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # The latter: what cannot be a name.
        failure = error if isinstance(error, OSError) else OSError(str(error))
        tell = partial(looking.set_exception, failure)
    else:
        tell = partial(looking.set_result, list(dict.fromkeys(str(each[4][0]) for each in found)))
    with suppress(RuntimeError):  # The process ends, and its loop is closed.
        loop.call_soon_threadsafe(tell)


class _GuardedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to an address that it has looked at, so that a name cannot lead elsewhere a moment later."""

    def __init__(self, *, to_private: bool) -> None:
        self._to_private = to_private
        self._names = _Names()
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's.
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            addresses = await self._names.addresses(host)
        except OSError as error:
            raise httpcore.ConnectError(f"{host} has no address") from error
        allowed = [each for each in addresses if self._to_private or is_public(ipaddress.ip_address(each))]
        if not allowed:
            raise AddressRefused(host)
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in allowed[:2]:  # A name with both kinds of address, of which only one leads anywhere.
            try:
                return await self._network.connect_tcp(
                    address, port, timeout=timeout, local_address=local_address, socket_options=socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure


# --- sending ------------------------------------------------------------------------------------------------


class WebhookSender:
    """Sends messages. No redirect is followed, no proxy used, and nothing kept of what is answered.

    Args:
        to_private: Whether addresses may be other than public.
    """

    def __init__(self, *, to_private: bool) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            network_backend=_GuardedNetwork(to_private=to_private),
            max_connections=100,
            max_keepalive_connections=0,  # The next message may be hours away.
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.aclose()

    async def send(self, url: str, *, secret: str, message_id: str, body: bytes) -> Outcome:
        """Send one message, once; what came of it."""
        began_at = time.monotonic()
        status_code, error = None, None
        try:
            # Not asyncio's, from which httpcore cannot shield its cleaning up: connections would be lost.
            with anyio.fail_after(TIMEOUT_S):
                status_code = await self._posted(url, secret=secret, message_id=message_id, body=body)
            error = _refusal(status_code)
        except (TimeoutError, httpcore.TimeoutException):
            error = f"It did not answer within {TIMEOUT_S:g} s."
        except AddressRefused as refused:
            error = str(refused)
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as failure:
            error = f"The connection failed: {_reason(failure)}."
        return Outcome(
            seconds=time.monotonic() - began_at,
            status_code=status_code,
            error=error,
            is_gone=status_code == 410,
        )

    async def _posted(self, url: str, *, secret: str, message_id: str, body: bytes) -> int:
        timestamp = int(time.time())
        headers = {
            "host": _host_of(url),
            "content-length": str(len(body)),
            "content-type": "application/json",
            "user-agent": f"Sluice/{__version__}",
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(secret, message_id=message_id, timestamp=timestamp, body=body),
        }
        limits = {"connect": CONNECT_TIMEOUT_S, "read": TIMEOUT_S, "write": TIMEOUT_S, "pool": TIMEOUT_S}
        async with self._pool.stream(
            "POST",
            url,
            headers=[*headers.items()],
            content=body,
            extensions={"timeout": limits},
        ) as response:
            read_bytes = 0
            async for part in response.aiter_stream():
                read_bytes += len(part)
                if read_bytes >= MOST_ANSWER_BYTES:
                    break
            return int(response.status)


def _host_of(url: str) -> str:
    parsed = httpcore.URL(url)
    host = parsed.host.decode()
    host = f"[{host}]" if ":" in host else host
    return host if parsed.port is None else f"{host}:{parsed.port}"


def _refusal(status_code: int) -> str | None:
    if 200 <= status_code < 300:
        return None
    if 300 <= status_code < 400:
        return f"It answered {status_code}; redirects are not followed."
    return f"It answered {status_code}."


def _reason(failure: BaseException) -> str:
    """The words of the system, which are at the end of the chain."""
    while failure.__cause__ or failure.__context__:
        failure = failure.__cause__ or failure.__context__  # type: ignore[assignment]  # Just looked.
    if isinstance(failure, OSError) and failure.strerror:
        return failure.strerror
    return (str(failure) or type(failure).__name__).rstrip(".")
