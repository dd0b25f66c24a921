"""How many small documents are taken in hand together, by how fast they come to their end."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from app.models.document import Document, Stage
from app.services import pace as pace_module
from app.services.company import (
    AT_ONCE_BYTES,
    AT_ONCE_S,
    FIRST_PACE,
    IN_HAND,
    LEAST,
    MOST,
    WITHIN_S,
    Company,
)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pace_module, "time", clock)
    return clock


def company_after(clock: Clock, *, documents_per_s: int, in_hand: int = 0) -> Company:
    """Once many have come to their end at this pace."""
    company = Company(lambda: [in_stage(Stage.EMBEDDING)] * in_hand)
    for _ in range(20):
        with company.pace.under_way():
            clock.now += 1
            company.pace.ended(documents_per_s)
        clock.now += 60  # In which there is nothing to do.
    return company


def room_after(clock: Clock, *, documents_per_s: int, in_hand: int = 0) -> int:
    with company_after(clock, documents_per_s=documents_per_s, in_hand=in_hand).room() as room:
        return room


def parties_of(company: Company, *sizes: int) -> list[list[int]]:
    """By the sizes of the documents in them."""
    documents = [document_of(size) for size in sizes]
    return [[document.size_bytes for document in party] for party in company.parties(documents)]


def in_stage(stage: Stage) -> Document:
    return cast("Document", SimpleNamespace(stage=stage.value))


def document_of(size_bytes: int, collection: str = "manuals") -> Document:
    return cast("Document", SimpleNamespace(size_bytes=size_bytes, collection=collection))


def test_as_many_are_claimed_as_end_within_a_moment(clock: Clock) -> None:
    assert room_after(clock, documents_per_s=40) == pytest.approx(min(40 * WITHIN_S, MOST), abs=1)
    assert room_after(clock, documents_per_s=40, in_hand=8) == pytest.approx(
        min(40 * WITHIN_S - 8, MOST), abs=1
    )
    assert room_after(clock, documents_per_s=1000) == MOST


def test_those_that_are_being_stored_are_work_no_more_but_in_hand(clock: Clock) -> None:
    storing: list[Document] = []
    company = Company(lambda: storing)
    with company.room() as before:
        storing += [in_stage(Stage.STORING)] * 40
    with company.room() as after:
        assert after == before
    storing += [in_stage(Stage.STORING)] * (IN_HAND - 40 - LEAST)
    with company.room() as at_last:
        assert at_last == LEAST


def test_too_few_are_not_worth_a_claim(clock: Clock) -> None:
    assert room_after(clock, documents_per_s=1) == 0
    assert room_after(clock, documents_per_s=40, in_hand=int(40 * WITHIN_S)) == 0


def test_there_is_an_end_to_what_is_in_hand_and_nothing_is_promised_twice(clock: Clock) -> None:
    assert room_after(clock, documents_per_s=10_000, in_hand=IN_HAND - LEAST) == LEAST
    company = company_after(clock, documents_per_s=60)
    with company.room() as first, company.room() as second:
        assert (first, second) == (MOST, pytest.approx(60 * WITHIN_S - MOST, abs=1))
    with company.room() as again:
        assert again == MOST


def test_those_are_ingested_in_one_go_that_end_within_a_moment_anyway(clock: Clock) -> None:
    at_once = int(FIRST_PACE * AT_ONCE_S)
    assert parties_of(Company(list), *range(30)) == [
        list(range(30))[n : n + at_once] for n in range(0, 30, at_once)
    ]
    assert parties_of(company_after(clock, documents_per_s=1000), *range(32)) == [list(range(32))]
    assert parties_of(company_after(clock, documents_per_s=1), 7, 8) == [[7], [8]]
    assert parties_of(Company(list)) == []


def test_so_many_as_are_split_without_keeping_others_waiting(clock: Clock) -> None:
    fast = company_after(clock, documents_per_s=1000)
    half, one = AT_ONCE_BYTES // 2, 1
    assert parties_of(fast, half, half, one, half, half) == [[half, half], [one, half], [half]]
    assert parties_of(fast, 2 * AT_ONCE_BYTES, one) == [[2 * AT_ONCE_BYTES], [one]]


def test_while_they_wait_for_the_model_those_of_different_collections_are_apart() -> None:
    an_import = [document_of(size) for size in range(1, 6)]
    only_one = document_of(9, collection="letters")
    mixed = [*an_import[:3], only_one, *an_import[3:]]

    assert Company(list, is_model_slow=lambda: True).parties(mixed) == [an_import, [only_one]]
    assert Company(list, is_model_slow=lambda: False).parties(mixed) == [mixed]


def test_that_they_end_in_groups_does_not_move_the_pace_much(clock: Clock) -> None:
    company = company_after(clock, documents_per_s=50)
    sizes = [5, 30, 12, 1, 20, 8, 25, 3] * 20
    paces = []
    with company.pace.under_way():
        for number, size in enumerate(sizes):
            clock.now += size / 50 * (0, 0, 3)[number % 3]  # Mostly together with the one before.
            company.pace.ended(size)
            paces.append(company.pace.per_s)

    assert 25 < min(paces) < max(paces) < 100


def test_a_pace_that_changed_is_soon_known(clock: Clock) -> None:
    company = company_after(clock, documents_per_s=50)
    for documents_per_s in (1000, 10):
        with company.pace.under_way():
            for _ in range(16):
                clock.now += 1
                company.pace.ended(documents_per_s)
        assert company.pace.per_s == pytest.approx(documents_per_s, rel=0.5)
