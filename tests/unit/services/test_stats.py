"""However many look at the statistics, the database is asked as often as it can answer."""

from __future__ import annotations

import pytest

from app.services import stats_service
from app.services.stats_service import COUNTS_AGE_S, _Remembered


async def test_a_look_that_takes_longer_than_its_answer_may_be_old_is_for_all_who_have_waited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, looks = 100.0, 0

    async def look() -> int:
        nonlocal now, looks
        looks += 1
        now += 2 * COUNTS_AGE_S
        return looks

    class Clock:
        @staticmethod
        def monotonic() -> float:
            return now

    monkeypatch.setattr(stats_service, "time", Clock)
    remembered = _Remembered(look, COUNTS_AGE_S)
    assert [await remembered.get() for _ in range(5)] == [1] * 5

    now += COUNTS_AGE_S + 0.1
    assert await remembered.get() == 2
