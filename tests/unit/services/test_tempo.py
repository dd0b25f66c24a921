"""How many calls a group takes, and when it begins, by how long that takes and how soon they come."""

from __future__ import annotations

import pytest

from app.services.tempo import LONG, PATIENCE, PATIENCE_AT_MOST_S, SHORT, Tempo

CALLERS = 16
CALL_S = 0.00025
SHORT_S = SHORT * CALLERS * CALL_S * 0.9
LONG_S = LONG * CALLERS * CALL_S * 1.1


def arrivals(count: int, *, after_s: float = 0.0) -> list[float]:
    """When so many came, one after the other."""
    return [after_s + number * CALL_S for number in range(count)]


def known() -> Tempo:
    """One that has seen callers come for a while."""
    tempo = Tempo()
    for _ in range(20):
        tempo.share(arrivals(CALLERS))
    return tempo


def test_all_that_wait_are_a_group_before_anything_is_known() -> None:
    assert Tempo().share([0.0]) == 1
    assert Tempo().share(arrivals(CALLERS)) == CALLERS


def test_while_groups_are_short_they_become_halves_of_all_callers_and_stay_halves() -> None:
    tempo, half = known(), CALLERS // 2
    assert tempo.ended(1, group_s=SHORT_S, waiting=CALLERS - 1) == (0, 0)
    assert tempo.share(arrivals(CALLERS - 1)) == half
    assert tempo.ended(half, group_s=SHORT_S, waiting=half) == (0, 0)
    assert tempo.share(arrivals(half)) == half


def test_whoever_waits_beside_few_is_not_put_off_though_groups_are_short() -> None:
    tempo = known()
    tempo.ended(4, group_s=SHORT_S, waiting=5)
    assert tempo.share(arrivals(5)) == 5


def test_the_callers_of_a_long_group_are_waited_for_and_go_together() -> None:
    tempo = known()
    patience_s = min(PATIENCE * LONG_S, PATIENCE_AT_MOST_S)
    assert tempo.ended(CALLERS, group_s=LONG_S, waiting=0) == (CALLERS, pytest.approx(patience_s))
    assert tempo.share(arrivals(CALLERS)) == CALLERS


def test_one_who_waited_through_a_group_says_nothing_of_how_soon_calls_come() -> None:
    tempo = known()
    for _ in range(20):
        tempo.ended(CALLERS - 1, group_s=LONG_S, waiting=1)
        assert tempo.share([-LONG_S, *arrivals(CALLERS - 1)]) == CALLERS
    assert tempo.ended(CALLERS, group_s=LONG_S, waiting=0)[0] == CALLERS


def test_whoever_is_alone_is_not_waited_for_nor_those_who_did_not_come_back() -> None:
    tempo = known()
    assert tempo.ended(1, group_s=1.0, waiting=0) == (0, 0)
    tempo.ended(CALLERS, group_s=SHORT_S, waiting=0)
    tempo.rest()
    assert tempo.share([0.0]) == 1


def test_one_group_whose_end_is_noticed_late_or_that_failed_at_once_does_not_change_the_tempo() -> None:
    tempo = known()
    tempo.ended(CALLERS, group_s=SHORT_S, waiting=0)
    assert tempo.ended(CALLERS, group_s=60.0, waiting=0) == (0, 0)
    for _ in range(10):
        assert tempo.ended(CALLERS, group_s=LONG_S * 2, waiting=0)[1] <= PATIENCE_AT_MOST_S
    assert tempo.ended(CALLERS, group_s=0.0, waiting=0)[0] == CALLERS


def test_nobody_is_waited_for_as_long_as_a_database_stood_still() -> None:
    tempo = Tempo()
    assert tempo.ended(CALLERS, group_s=60.0, waiting=0) == (CALLERS, PATIENCE_AT_MOST_S)
