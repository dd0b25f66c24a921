"""However many look at the statistics, the database is asked as often as it can answer."""

from __future__ import annotations

import asyncio

import pytest

from app.services import stats_service
from app.services.stats_service import COUNTS_AGE_S, FAILURE_AGE_S, KNOWN_FOR_S, _Remembered


class Clock:
    """Goes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


class Looks:
    """Finds how often it has looked; slow or failing, if that is wanted."""

    def __init__(self) -> None:
        self.number = 0
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.error: Exception | None = None

    async def __call__(self) -> int:
        self.number += 1
        found = self.number
        await self.may_end.wait()
        if self.error is not None:
            raise self.error
        return found


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(stats_service, "time", clock)
    return clock


@pytest.fixture
async def looks() -> Looks:
    return Looks()


async def test_a_look_that_takes_longer_than_its_answer_may_be_old_is_for_all_who_have_waited(
    clock: Clock,
) -> None:
    looks = 0

    async def look() -> int:
        nonlocal looks
        looks += 1
        clock.now += 2 * COUNTS_AGE_S
        return looks

    remembered = _Remembered(look, COUNTS_AGE_S)
    assert [await remembered.get() for _ in range(5)] == [1] * 5

    clock.now += COUNTS_AGE_S + 0.1
    assert await remembered.get() == 2


async def test_who_cannot_wait_leaves_a_slow_look_to_those_who_come_after_and_begins_no_second_one(
    clock: Clock, looks: Looks
) -> None:
    remembered = _Remembered(looks, COUNTS_AGE_S)
    looks.may_end.clear()
    assert await asyncio.gather(*(remembered.latest(0.01) for _ in range(3))) == [None] * 3

    waiting = asyncio.create_task(remembered.get())
    looks.may_end.set()
    assert await waiting == 1
    assert await remembered.latest(0) == 1
    assert looks.number == 1


async def test_who_cannot_wait_is_told_what_was_found_before_unless_that_is_old(
    clock: Clock, looks: Looks
) -> None:
    remembered = _Remembered(looks, COUNTS_AGE_S)
    assert await remembered.latest(1) == 1
    looks.may_end.clear()

    clock.now += KNOWN_FOR_S - 1
    assert await remembered.latest(0) == 1
    assert await remembered.latest(0, known_for_s=0) is None
    clock.now += 2
    assert await remembered.latest(0) is None
    await remembered.close()


async def test_a_failure_is_remembered_for_a_moment_and_then_looked_at_again(
    clock: Clock, looks: Looks
) -> None:
    remembered = _Remembered(looks, 30 * FAILURE_AGE_S)
    looks.error = ConnectionRefusedError()
    for _ in range(2):
        with pytest.raises(ConnectionRefusedError):
            await remembered.get()
        assert await remembered.latest(1) is None
    assert looks.number == 1

    clock.now += FAILURE_AGE_S + 0.1
    looks.error = None
    assert await remembered.get() == 2


async def test_a_look_that_is_under_way_ends_with_the_service(clock: Clock, looks: Looks) -> None:
    remembered = _Remembered(looks, COUNTS_AGE_S)
    looks.may_end.clear()
    assert await remembered.latest(0) is None

    await asyncio.wait_for(remembered.close(), 5)
