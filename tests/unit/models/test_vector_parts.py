"""Which vectors are indexed together, and when."""

from __future__ import annotations

import pytest

from app.models.vector_parts import ALIKE, ENDLESS, WORTH_AN_INDEX, Part, Plan, fitting, plan

LARGEST = 10**9  # Larger than any.


def part(above: int, up_to: int, vectors: int | None = None) -> Part:
    return Part(above, up_to, up_to - above if vectors is None else vectors, f"{above}_{up_to}")


def test_little_is_left_as_it_is() -> None:
    assert plan([], fresh=WORTH_AN_INDEX - 1, newest=99_999, largest=LARGEST) is None
    assert plan([part(0, 10_000)], fresh=WORTH_AN_INDEX - 1, newest=99_999, largest=LARGEST) is None


def test_enough_is_a_part_of_its_own_beside_few_of_its_size_and_any_larger_ones() -> None:
    assert plan([], fresh=WORTH_AN_INDEX, newest=12_345, largest=LARGEST) == Plan(0, 12_345, [])
    parts = [part(0, 500_000), part(500_000, 510_000), part(510_000, 520_000)]
    assert plan(parts, fresh=WORTH_AN_INDEX, newest=530_000, largest=LARGEST) == Plan(520_000, 530_000, [])


def test_with_enough_of_its_size_it_becomes_one_part() -> None:
    large = part(0, 500_000)
    small = [part(n, n + 10_000) for n in (500_000, 510_000, 520_000)]
    assert plan([large, *small], fresh=WORTH_AN_INDEX, newest=530_000, largest=LARGEST) == Plan(
        500_000, 530_000, small
    )


def test_a_part_without_an_end_is_replaced_however_little_is_in_it() -> None:
    endless = part(0, ENDLESS, 0)
    assert plan([endless], fresh=3, newest=3, largest=LARGEST) == Plan(0, 3, [endless])


def test_what_would_be_too_large_becomes_a_part_that_stays_as_it_is() -> None:
    parts = [part(0, 90_000), *(part(n, n + 40_000) for n in (90_000, 130_000, 170_000))]
    sealed = plan(parts, fresh=40_000, newest=250_000, largest=150_000)
    assert sealed == Plan(90_000, 210_000, parts[1:])

    parts = [*parts[:1], part(90_000, 210_000)]
    assert plan(parts, fresh=40_000, newest=250_000, largest=150_000) == Plan(210_000, 250_000, [])


def test_a_part_fits_into_the_memory_it_is_made_in() -> None:
    assert 170_000 < fitting(256, 384) < 190_000
    assert fitting(64, 4000) == WORTH_AN_INDEX


@pytest.mark.parametrize("largest", [180_000, LARGEST])
@pytest.mark.parametrize("at_once", [WORTH_AN_INDEX, 7 * WORTH_AN_INDEX, 12 * WORTH_AN_INDEX])
def test_a_vector_is_indexed_a_few_times_and_a_search_looks_into_few_parts(
    at_once: int, largest: int
) -> None:
    parts: list[Part] = []
    indexed = most = newest = 0
    while newest < 2_000_000:
        newest += at_once
        while fresh := newest - (parts[-1].up_to if parts else 0):
            planned = plan(parts, fresh=fresh, newest=newest, largest=largest)
            assert planned is not None
            parts = [each for each in parts if each not in planned.replaced]
            parts.append(part(planned.above, planned.up_to))
            parts.sort()
            indexed += planned.up_to - planned.above
            assert planned.up_to - planned.above <= largest
            # Each id is in exactly one.
            assert [each.above for each in parts] == [0, *(each.up_to for each in parts[:-1])]
        most = max(most, len(parts))

    assert indexed <= 5 * newest
    assert most <= 4 * (ALIKE - 1) + 2 * newest // largest
