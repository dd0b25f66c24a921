"""How many calls a group takes, and when it begins, by how long that takes and how soon they come."""

from __future__ import annotations

import pytest

from app.services.tempo import LONG, PATIENCE, PATIENCE_AT_MOST_S, Tempo

CALLERS = 16
CALL_S = 0.00025


def tempo_after(group_s: float, *, calls: int = 1) -> Tempo:
    """Once callers have come one after the other for a while, and a group of some of them has ended."""
    tempo = Tempo()
    for _ in range(20):
        tempo.share(CALLERS, within_s=(CALLERS - 1) * CALL_S)
    tempo.ended(calls, group_s=group_s)
    return tempo


def test_all_that_wait_are_a_group_before_anything_is_known() -> None:
    assert Tempo().share(1, within_s=0) == 1
    assert Tempo().share(CALLERS, within_s=0) == CALLERS


def test_while_groups_are_short_each_is_half_of_all_callers() -> None:
    short = CALLERS * CALL_S * 0.5
    tempo = tempo_after(short, calls=1)
    assert tempo.share(CALLERS - 1, within_s=(CALLERS - 2) * CALL_S) == CALLERS // 2
    assert tempo.patience(CALLERS // 2 - 1) == (0, 0)

    tempo.ended(CALLERS // 2, group_s=short)
    assert tempo.share(CALLERS // 2, within_s=(CALLERS // 2 - 1) * CALL_S) == CALLERS // 2


def test_a_long_group_takes_all_that_wait_and_the_callers_of_the_last_are_waited_for() -> None:
    long = LONG * CALLERS * CALL_S * 1.1
    tempo = tempo_after(long, calls=CALLERS)
    assert tempo.patience(0) == (CALLERS, pytest.approx(PATIENCE * long))
    assert tempo.share(CALLERS, within_s=(CALLERS - 1) * CALL_S) == CALLERS


def test_whoever_is_alone_is_not_waited_for_nor_those_who_did_not_come_back() -> None:
    assert tempo_after(1.0, calls=1).patience(0) == (0, 0)
    tempo = tempo_after(0.001, calls=CALLERS)
    tempo.rest()
    assert tempo.share(1, within_s=0) == 1
    assert tempo.patience(0) == (0, 0)


def test_after_a_database_stood_still_nobody_is_waited_for_as_long() -> None:
    assert tempo_after(60.0, calls=CALLERS).patience(0) == (CALLERS, PATIENCE_AT_MOST_S)
