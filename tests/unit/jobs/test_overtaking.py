"""What a process takes in hand by itself while it leaves the messages in the queue to others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from app.core.tasks import end
from app.jobs import overtaking
from app.jobs.lanes import LANES, Lanes

SMALL, ANY = "small", "any"


class Process:
    """One that has something in hand, with or without room for more."""

    def __init__(self) -> None:
        self.is_roomy = False
        self.in_hand = 1
        self.looks = 0
        self.taken: list[str] = []
        self.may_end = asyncio.Event()
        self.ended = 0

    async def wait_for_work(self) -> None:
        await asyncio.sleep(0)

    def has_room(self) -> bool:
        self.looks += 1
        return self.is_roomy

    def files(self) -> int:
        return self.in_hand

    async def _take(self, what: str) -> None:
        self.taken.append(what)
        await self.may_end.wait()
        self.ended += 1

    @asynccontextmanager
    async def overtaking(self) -> AsyncIterator[None]:
        lanes = Lanes()
        task = asyncio.create_task(
            overtaking.overtake(
                self,  # type: ignore[arg-type]
                self,  # type: ignore[arg-type]
                lanes,
                work_on_small=lambda: self._take(SMALL),
                work_on_next=lambda: self._take(ANY),
            )
        )
        try:
            yield
        finally:
            await end(task)
            self.may_end.set()
            await lanes.close()

    async def looked(self, times: int) -> None:
        """Return when it has looked so many times more."""
        enough = self.looks + times
        await until(lambda: self.looks >= enough)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overtaking, "OVERTAKING_S", 0.001)


async def test_without_room_small_documents_are_taken_in_as_many_lanes_as_there_are() -> None:
    process = Process()
    async with process.overtaking():
        await process.looked(LANES + 5)
        assert process.taken == [SMALL] * LANES
    assert process.ended == LANES  # They go on when nothing more is taken.


async def test_one_that_has_waited_long_is_taken_whatever_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overtaking, "LONGEST_WAIT_S", 0.05)
    process = Process()
    process.may_end.set()
    async with process.overtaking():
        await until(lambda: ANY in process.taken)
        assert process.taken[0] == SMALL
        process.in_hand, process.taken = LANES, []  # So many files at once are enough for anybody.
        await process.looked(100)  # A twentieth of a second and more.
        assert len(process.taken) >= 50
        assert ANY not in process.taken


async def test_with_room_it_is_left_to_the_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overtaking, "LONGEST_WAIT_S", 0.01)
    process = Process()
    process.is_roomy = True
    async with process.overtaking():
        await process.looked(50)
        assert process.taken == []
        process.is_roomy = False
        await until(lambda: bool(process.taken))
