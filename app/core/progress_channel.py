"""Carries progress from workers to whoever listens, through Redis: ids and counts, at once or never."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, Self

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

#: A message that does not get away within this time is dropped.
PATIENCE_S = 0.5

#: How long a subscription may hear nothing before it asks whether the server is still there; and then.
SILENCE_S = 10

#: What is raised while Redis is away.
REDIS_UNREACHABLE = (redis.RedisError, OSError)


class ProgressChannel:
    """A channel of Redis' publish and subscribe; nothing is kept anywhere.

    Args:
        url: As in REDIS_URL. Channels are the same in all databases of a server: the number is in the name.
    """

    def __init__(self, url: str) -> None:
        self._sender = redis.Redis.from_url(
            url,
            socket_timeout=PATIENCE_S,
            socket_connect_timeout=PATIENCE_S,
            retry=Retry(NoBackoff(), 0),
        )
        self._listener = redis.Redis.from_url(
            url,
            socket_connect_timeout=PATIENCE_S,
            retry=Retry(NoBackoff(), 0),
        )
        number = self._sender.connection_pool.connection_kwargs.get("db") or 0
        self._name = f"sluice:progress:{number}"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._sender.aclose()
        await self._listener.aclose()

    async def send(self, messages: Sequence[str]) -> None:
        """Tell whoever listens now.

        Raises:
            REDIS_UNREACHABLE: Perhaps nobody was told.
        """
        async with self._sender.pipeline(transaction=False) as pipeline:
            for message in messages:
                pipeline.publish(self._name, message)
            await pipeline.execute()

    async def messages(self) -> AsyncIterator[bytes]:
        """What others send, from now on.

        Raises:
            REDIS_UNREACHABLE: The connection broke, or leads nowhere any more.
        """
        async with aclosing(self._listener.pubsub()) as subscription:
            await subscription.subscribe(self._name)
            is_asked = False
            while True:
                message: dict[str, Any] | None = await subscription.get_message(timeout=SILENCE_S)
                if message is not None:
                    is_asked = False
                    if message["type"] == "message":
                        yield message["data"]
                elif is_asked:
                    raise redis.ConnectionError("The server does not answer.")
                else:
                    is_asked = True
                    await subscription.ping()
