"""Which vectors are indexed together, and when."""

from __future__ import annotations

import itertools

import pytest

from app.models.vector_parts import ALIKE, ENDLESS, WORTH_AN_INDEX, Part, Plan, plan


def part(above: int, up_to: int, vectors: int | None = None) -> Part:
    return Part(above, up_to, up_to - above if vectors is None else vectors, f"{above}_{up_to}")


def test_little_is_left_as_it_is() -> None:
    assert plan([], fresh=WORTH_AN_INDEX - 1, newest=99_999) is None
    assert plan([part(0, 10_000)], fresh=WORTH_AN_INDEX - 1, newest=99_999) is None


def test_enough_is_a_part_of_its_own_beside_few_of_its_size_and_any_larger_ones() -> None:
    assert plan([], fresh=WORTH_AN_INDEX, newest=12_345) == Plan(0, 12_345, [])
    parts = [part(0, 500_000), part(500_000, 510_000), part(510_000, 520_000)]
    assert plan(parts, fresh=WORTH_AN_INDEX, newest=530_000) == Plan(520_000, 530_000, [])


def test_with_enough_of_its_size_it_becomes_one_part() -> None:
    large = part(0, 500_000)
    small = [part(n, n + 10_000) for n in (500_000, 510_000, 520_000)]
    assert plan([large, *small], fresh=WORTH_AN_INDEX, newest=530_000) == Plan(500_000, 530_000, small)


def test_a_part_without_an_end_is_replaced_however_little_is_in_it() -> None:
    endless = part(0, ENDLESS, 0)
    assert plan([endless], fresh=3, newest=3) == Plan(0, 3, [endless])


@pytest.mark.parametrize("at_once", [WORTH_AN_INDEX, 7 * WORTH_AN_INDEX])
def test_a_vector_is_indexed_a_few_times_and_a_search_looks_into_few_parts(at_once: int) -> None:
    parts: list[Part] = []
    indexed = most = 0
    for newest in itertools.islice(itertools.count(at_once, at_once), 2_000_000 // at_once):
        planned = plan(parts, fresh=at_once, newest=newest)
        assert planned is not None
        parts = [each for each in parts if each not in planned.replaced]
        parts.append(part(planned.above, planned.up_to))
        indexed += planned.up_to - planned.above
        most = max(most, len(parts))
        # Each id is in exactly one.
        assert [each.above for each in parts] == [0, *(each.up_to for each in parts[:-1])]
        assert parts[-1].up_to == newest

    assert indexed <= 5 * newest
    assert most <= 4 * (ALIKE - 1)
