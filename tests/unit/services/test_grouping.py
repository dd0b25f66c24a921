"""Calls carried out together: who shares a group with whom, and what a failure costs the others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from app.services.grouping import Grouped
from app.services.tempo import Tempo


class Doubler:
    """Doubles numbers, a group at a time, once it is let; but not 13, and nothing while it has a failure."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.is_let = asyncio.Event()
        self.failure: Exception | None = None

    async def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.groups.append(list(numbers))
        await self.is_let.wait()
        if self.failure is not None:
            raise self.failure
        if 13 in numbers:
            raise ValueError(13)
        return [2 * number for number in numbers]

    def grouped(self, at_most: int = 10) -> Grouped[int, int]:
        return Grouped(self, at_most=at_most, is_shared=lambda error: isinstance(error, OSError))


@pytest.fixture
def doubler() -> Doubler:
    return Doubler()


async def begun(grouped: Grouped[int, int], *numbers: int) -> list[asyncio.Task[int]]:
    """Calls, each of which has come."""
    calls = [asyncio.create_task(grouped(number)) for number in numbers]
    for _ in range(2):
        await asyncio.sleep(0)
    return calls


async def test_what_comes_while_a_group_is_under_way_is_the_next_one(doubler: Doubler) -> None:
    grouped = doubler.grouped(at_most=2)
    calls = await begun(grouped, 1)
    calls += await begun(grouped, 2, 3, 4)
    doubler.is_let.set()

    assert await asyncio.gather(*calls) == [2, 4, 6, 8]
    assert doubler.groups == [[1], [2, 3], [4]]
    assert await grouped(5) == 10


async def test_a_group_weighs_no_more_than_it_may_unless_it_is_one_call_alone(doubler: Doubler) -> None:
    grouped = Grouped(doubler, at_most=5, weigh=lambda number: number)
    calls = await begun(grouped, 1)
    calls += await begun(grouped, 2, 3, 1, 9, 1)
    doubler.is_let.set()

    assert await asyncio.gather(*calls) == [2, 4, 6, 2, 18, 2]
    assert doubler.groups == [[1], [2, 3], [1], [9], [1]]


async def test_only_the_one_at_fault_fails(doubler: Doubler) -> None:
    grouped = doubler.grouped()
    calls = await begun(grouped, 0)
    calls += await begun(grouped, 1, 13, 2)
    doubler.is_let.set()

    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [result for result in results if not isinstance(result, ValueError)] == [0, 2, 4]
    assert doubler.groups == [[0], [1, 13, 2], [1], [13], [2]]


async def test_a_failure_that_each_would_meet_is_not_met_again_by_each(doubler: Doubler) -> None:
    doubler.failure = OSError("away")
    calls = await begun(doubler.grouped(), 1, 2, 3)
    doubler.is_let.set()

    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [OSError] * 3
    assert doubler.groups == [[1, 2, 3]]


async def test_who_leaves_takes_nothing_from_the_others(doubler: Doubler) -> None:
    grouped = doubler.grouped()
    calls = await begun(grouped, 1)
    calls += await begun(grouped, 2, 3)
    calls[0].cancel()
    calls[1].cancel()
    doubler.is_let.set()

    assert await calls[2] == 6
    assert doubler.groups == [[1], [3]]


async def test_after_a_slow_call_the_next_ones_gather_until_they_are_enough() -> None:
    doubler = Doubler()
    doubler.is_let.set()
    grouped = Grouped(doubler, at_most=3, linger_s=lambda number: 3600 if number == 1 else 0)
    assert await grouped(1) == 2
    calls = await begun(grouped, 2, 3)
    assert doubler.groups == [[1]]

    calls += await begun(grouped, 4, 5)

    assert await asyncio.gather(*calls) == [4, 6, 8, 10]
    assert doubler.groups == [[1], [2, 3, 4], [5]]


async def test_nobody_waits_longer_than_that_for_company() -> None:
    doubler = Doubler()
    doubler.is_let.set()
    grouped = Grouped(doubler, at_most=3, linger_s=lambda _: 0.01)

    assert [await grouped(number) for number in (1, 2, 3)] == [2, 4, 6]
    assert doubler.groups == [[1], [2], [3]]


class Told(Tempo):
    """Writes down what it is told, and says what a test wants."""

    def __init__(self, *, most: int, patience: tuple[int, float] = (0, 0.0)) -> None:
        self.most = most
        self.patience = patience
        self.notes: list[tuple[object, ...]] = []

    def share(self, came_at: Sequence[float]) -> int:
        assert list(came_at) == sorted(came_at)
        self.notes.append(("share", len(came_at)))
        return self.most

    def ended(self, calls: int, *, group_s: float, waiting: int) -> tuple[int, float]:
        self.notes.append(("ended", calls, waiting, group_s > 0))
        return self.patience

    def rest(self) -> None:
        self.notes.append(("rest",))


async def test_a_group_is_put_off_until_those_are_back_that_are_waited_for(doubler: Doubler) -> None:
    doubler.is_let.set()
    grouped = Grouped(doubler, at_most=10, tempo=Told(most=10, patience=(3, 3600)))
    assert await grouped(1) == 2
    calls = await begun(grouped, 2, 3)
    for _ in range(10):
        await asyncio.sleep(0)
    assert doubler.groups == [[1]]

    calls += await begun(grouped, 4)
    assert await asyncio.gather(*calls) == [4, 6, 8]
    assert doubler.groups == [[1], [2, 3, 4]]


async def test_a_group_is_as_many_as_its_tempo_says_which_is_told_what_became_of_it(doubler: Doubler) -> None:
    tempo = Told(most=2)
    grouped = Grouped(doubler, at_most=10, tempo=tempo)
    calls = await begun(grouped, 1, 2, 3)
    doubler.is_let.set()

    assert await asyncio.gather(*calls) == [2, 4, 6]
    await asyncio.sleep(0)
    assert doubler.groups == [[1, 2], [3]]
    assert tempo.notes == [
        ("share", 3),
        ("ended", 2, 1, True),
        ("share", 1),
        ("ended", 1, 0, True),
        ("rest",),
    ]
