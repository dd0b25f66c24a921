"""Calls that come at the same time, carried out as one."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Generic, NamedTuple, TypeVar

from app.services.tempo import Tempo

T = TypeVar("T")
R = TypeVar("R")


class _Call(NamedTuple, Generic[T, R]):
    item: T
    result: asyncio.Future[R]
    came_at: float


class Grouped(Generic[T, R]):
    """While one group is under way the next one gathers; what comes while none is, is a group at once.

    When a group fails, each of its calls is carried out by itself, so that only the one at fault fails.

    Args of the constructor:
        run: Carries out some calls; a result for each, in their order. All or none have an effect.
        at_most: What the calls of a group weigh; one that weighs more has a group of its own.
        weigh: What a call weighs.
        linger_s: How long what comes after a call's group gathers at least, unless it is enough before;
            where there is no tempo.
        is_shared: Whether a failure is one that each call would meet by itself, too.
        tempo: Of callers who come again when they have their result.
    """

    def __init__(
        self,
        run: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        *,
        at_most: int,
        weigh: Callable[[T], int] = lambda _: 1,
        linger_s: Callable[[T], float] = lambda _: 0,
        is_shared: Callable[[Exception], bool] = lambda _: False,
        tempo: Tempo | None = None,
    ) -> None:
        self._run = run
        self._at_most = at_most
        self._weigh = weigh
        self._linger_s = linger_s
        self._is_shared = is_shared
        self._tempo = tempo
        self._waiting: deque[_Call[T, R]] = deque()
        self._weight = 0  # Of what waits.
        self._enough = 0  # So many are not lingered for.
        self._is_enough = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    async def __call__(self, item: T) -> R:
        """The result for this item. Whoever is cancelled while waiting takes nothing from the others."""
        result: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Call(item, result, time.monotonic()))
        self._weight += self._weigh(item)
        if self._running is None:
            self._running = asyncio.create_task(self._work())
        if self._weight >= self._at_most or len(self._waiting) >= self._enough > 0:
            self._is_enough.set()
        return await result

    async def _work(self) -> None:
        try:
            while self._waiting:
                group = self._next_group()
                begun_at = time.monotonic()
                await self._carry_out(group)
                await self._linger(self._linger_after(group, time.monotonic() - begun_at))
        finally:
            if self._tempo is not None:
                self._tempo.rest()
            self._running = None

    def _linger_after(self, group: Sequence[_Call[T, R]], group_s: float) -> float:
        if self._tempo is None:
            return max(self._linger_s(call.item) for call in group)
        self._enough, seconds = self._tempo.ended(len(group), group_s=group_s, waiting=len(self._waiting))
        return seconds

    async def _linger(self, seconds: float) -> None:
        self._is_enough.clear()
        if seconds and self._weight < self._at_most:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._is_enough.wait()

    def _next_group(self) -> list[_Call[T, R]]:
        most = len(self._waiting)
        if self._tempo is not None:
            most = self._tempo.share([call.came_at for call in self._waiting])
        group = [self._waiting.popleft()]
        weight = self._weigh(group[0].item)
        while (
            self._waiting
            and len(group) < most
            and weight + (next_one := self._weigh(self._waiting[0].item)) <= self._at_most
        ):
            group.append(self._waiting.popleft())
            weight += next_one
        self._weight -= weight
        return group

    async def _carry_out(self, group: Sequence[_Call[T, R]]) -> None:
        group = [call for call in group if not call.result.done()]  # Without those who have left meanwhile.
        if not group:
            return
        try:
            results = await self._run([call.item for call in group])
            told = list(zip(group, results, strict=True))
        except Exception as error:
            await self._fail(group, error)
            return
        for call, result in told:
            if not call.result.done():
                call.result.set_result(result)

    async def _fail(self, group: Sequence[_Call[T, R]], error: Exception) -> None:
        if len(group) > 1 and not self._is_shared(error):
            for alone in group:
                await self._carry_out([alone])
            return
        for call in group:
            if not call.result.done():
                call.result.set_exception(error)
