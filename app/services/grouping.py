"""Calls that come at the same time, carried out as one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
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
        is_shared: Whether a failure is one that each call would meet by itself, too.
    """

    def __init__(
        self,
        run: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        *,
        at_most: int,
        weigh: Callable[[T], int] = lambda _: 1,
        is_shared: Callable[[Exception], bool] = lambda _: False,
    ) -> None:
        self._run = run
        self._at_most = at_most
        self._weigh = weigh
        self._is_shared = is_shared
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._running: asyncio.Task[None] | None = None

    async def __call__(self, item: T) -> R:
        """The result for this item. Whoever is cancelled while waiting takes nothing from the others."""
        result: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, result))
        if self._running is None:
            self._running = asyncio.create_task(self._work())
        return await result

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self._carry_out(self._next_group())
        finally:
            self._running = None

    def _next_group(self) -> list[tuple[T, asyncio.Future[R]]]:
        group = [self._waiting.popleft()]
        room = self._at_most - self._weigh(group[0][0])
        while self._waiting and (room := room - self._weigh(self._waiting[0][0])) >= 0:
            group.append(self._waiting.popleft())
        return group

    async def _carry_out(self, group: Sequence[tuple[T, asyncio.Future[R]]]) -> None:
        group = [each for each in group if not each[1].done()]  # Without those who have left meanwhile.
        if not group:
            return
        try:
            results = await self._run([item for item, _ in group])
        except Exception as error:
            await self._fail(group, error)
            return
        for (_, future), result in zip(group, results, strict=True):
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
