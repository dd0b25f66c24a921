"""Calls that come at the same time, carried out as one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Grouped(Generic[T, R]):
    """While one group is under way the next one gathers: a call that comes alone waits for no other.

    When a group fails, each of its calls is carried out by itself, so that only the one at fault fails.

    Args of the constructor:
        run: Carries out some calls; a result for each, in their order. All or none have an effect.
        at_most: What the calls of a group weigh; one that weighs more has a group of its own.
        weigh: What a call weighs.
        linger_s: How long what comes after a call's group gathers at least, unless it is enough before.
        is_shared: Whether a failure is one that each call would meet by itself, too.
    """

    def __init__(
        self,
        run: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        *,
        at_most: int,
        weigh: Callable[[T], int] = lambda _: 1,
        linger_s: Callable[[T], float] = lambda _: 0,
        is_shared: Callable[[Exception], bool] = lambda _: False,
    ) -> None:
        self._run = run
        self._at_most = at_most
        self._weigh = weigh
        self._linger_s = linger_s
        self._is_shared = is_shared
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._weight = 0  # Of what waits.
        self._is_enough = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    async def __call__(self, item: T) -> R:
        """The result for this item. Whoever is cancelled while waiting takes nothing from the others."""
        result: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, result))
        self._weight += self._weigh(item)
        if self._running is None:
            self._running = asyncio.create_task(self._work())
        if self._weight >= self._at_most:
            self._is_enough.set()
        return await result

    async def _work(self) -> None:
        try:
            while self._waiting:
                group = self._next_group()
                linger_s = max(self._linger_s(item) for item, _ in group)
                await self._carry_out(group)
                await self._linger(linger_s)
        finally:
            self._running = None

    async def _linger(self, seconds: float) -> None:
        self._is_enough.clear()
        if seconds and self._weight < self._at_most:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._is_enough.wait()

    def _next_group(self) -> list[tuple[T, asyncio.Future[R]]]:
        group = [self._waiting.popleft()]
        weight = self._weigh(group[0][0])
        while self._waiting and weight + (next_one := self._weigh(self._waiting[0][0])) <= self._at_most:
            group.append(self._waiting.popleft())
            weight += next_one
        self._weight -= weight
        return group

    async def _carry_out(self, group: Sequence[tuple[T, asyncio.Future[R]]]) -> None:
        group = [each for each in group if not each[1].done()]  # Without those who have left meanwhile.
        if not group:
            return
        try:
            results = await self._run([item for item, _ in group])
            told = list(zip(group, results, strict=True))
        except Exception as error:
            await self._fail(group, error)
            return
        for (_, future), result in told:
            if not future.done():
                future.set_result(result)

    async def _fail(self, group: Sequence[tuple[T, asyncio.Future[R]]], error: Exception) -> None:
        if len(group) > 1 and not self._is_shared(error):
            for alone in group:
                await self._carry_out([alone])
            return
        for _, future in group:
            if not future.done():
                future.set_exception(error)
