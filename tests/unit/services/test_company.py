"""How many small documents are taken in hand together, by how fast they come to their end."""

from __future__ import annotations

import pytest

from app.services import company as company_module
from app.services.company import FIRST_PACE, IN_HAND, LEAST, MOST, WITHIN_S, Company


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(company_module, "time", clock)
    return clock


def room_after(clock: Clock, *, documents_per_s: float, in_hand: int = 0) -> int:
    """Once companies have come to their end at this pace."""
    company = Company(lambda: in_hand)
    for _ in range(20):
        with company.at_work(20):
            clock.now += (20 + in_hand) / documents_per_s
    with company.room() as room:
        return room


def test_as_many_are_claimed_as_end_within_a_moment(clock: Clock) -> None:
    assert room_after(clock, documents_per_s=40) == pytest.approx(min(40 * WITHIN_S, MOST), abs=1)
    assert room_after(clock, documents_per_s=40, in_hand=8) == pytest.approx(
        min(40 * WITHIN_S - 8, MOST), abs=1
    )
    assert room_after(clock, documents_per_s=1000) == MOST


def test_too_few_are_not_worth_a_claim(clock: Clock) -> None:
    assert room_after(clock, documents_per_s=1) == 0
    assert room_after(clock, documents_per_s=40, in_hand=40) == 0


def test_there_is_an_end_to_what_is_in_hand_and_nothing_is_promised_twice(clock: Clock) -> None:
    assert room_after(clock, documents_per_s=10_000, in_hand=IN_HAND - LEAST) == LEAST
    company = Company(lambda: 0)
    with company.room() as first, company.room() as second:
        assert (first, second) == (MOST, FIRST_PACE * WITHIN_S - MOST)
    with company.room() as again:
        assert again == MOST
