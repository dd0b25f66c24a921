"""The batcher, with a model that writes down what it is given and stops where a test wants it to."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.embedding.batching import Batcher, Ids
from tests.running import wait_until

WAIT_S = 10  # Nothing takes as long; a test that would hang fails.
POISON = -1


class Model:
    """Maps a text to (its first id, its length); `hold` stops it at its next batch."""

    dimensions = 2

    def __init__(self) -> None:
        self.batches: list[list[Ids]] = []
        self.has_begun = threading.Event()
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def hold(self) -> None:
        self.has_begun.clear()
        self.may_go_on.clear()

    def run(self, texts: list[Ids]) -> NDArray[np.float32]:
        self.batches.append(texts)
        self.has_begun.set()
        assert self.may_go_on.wait(WAIT_S)
        if any(ids[0] == POISON for ids in texts):
            raise ValueError("This text cannot be embedded.")
        return np.array([(ids[0], len(ids)) for ids in texts], np.float32)

    def firsts(self) -> list[list[int]]:
        """The first ids of all batches so far: who was in which."""
        return [[ids[0] for ids in batch] for batch in self.batches]


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def batcher(model: Model) -> Iterator[Batcher]:
    """Batches of at most 10 tokens."""
    batcher = Batcher(model.run, model.dimensions, batch_tokens=10)
    yield batcher
    model.may_go_on.set()
    batcher.close()


def text(name: int, length: int = 1) -> Ids:
    return [name] * length


def submit(batcher: Batcher, *texts: Ids, is_urgent: bool = False) -> Future[NDArray[np.float32]]:
    return batcher.submit(texts, is_urgent=is_urgent)


def names(future: Future[NDArray[np.float32]]) -> list[int]:
    return [int(row[0]) for row in future.result(WAIT_S)]


def occupy(batcher: Batcher, model: Model) -> Future[NDArray[np.float32]]:
    """Hold the model at a batch of its own, so that what a test submits next waits together."""
    model.hold()
    future = submit(batcher, text(0, 10))
    assert model.has_begun.wait(WAIT_S)
    return future


def test_rows_come_in_the_order_of_the_texts_though_batches_go_by_length(
    batcher: Batcher, model: Model
) -> None:
    future = submit(batcher, text(1, 9), text(2, 2), text(3, 5), text(4, 1))

    assert names(future) == [1, 2, 3, 4]
    assert model.firsts() == [[4, 2], [3], [1]]


def test_texts_of_concurrent_calls_share_a_batch(batcher: Batcher, model: Model) -> None:
    occupy(batcher, model)
    futures = [submit(batcher, text(name, 2)) for name in (1, 2, 3)]
    model.may_go_on.set()

    assert [names(future) for future in futures] == [[1], [2], [3]]
    assert model.firsts() == [[0], [1, 2, 3]]


def test_texts_of_like_length_are_put_together_whoever_they_belong_to(batcher: Batcher, model: Model) -> None:
    occupy(batcher, model)
    futures = [submit(batcher, text(1, 1), text(2, 5)), submit(batcher, text(3, 1), text(4, 5))]
    model.may_go_on.set()

    assert [names(future) for future in futures] == [[1, 2], [3, 4]]
    assert model.firsts() == [[0], [1, 3], [2, 4]]


def test_a_small_document_waits_for_one_batch_of_a_large_one_at_most(batcher: Batcher, model: Model) -> None:
    model.hold()
    large = submit(batcher, *[text(1, 5)] * 20)
    assert model.has_begun.wait(WAIT_S)
    small = submit(batcher, text(2, 5))
    model.may_go_on.set()

    assert names(large) == [1] * 20
    assert names(small) == [2]
    assert any(2 in batch for batch in model.firsts()[1:3])


def test_a_small_document_of_several_texts_has_its_share_beside_large_ones(
    batcher: Batcher, model: Model
) -> None:
    occupy(batcher, model)
    large = [submit(batcher, *[text(name, 5)] * 20) for name in (1, 2)]
    small = submit(batcher, text(3, 1), text(4, 6), text(5, 10))
    model.may_go_on.set()

    assert names(small) == [3, 4, 5]
    assert names(large[0]) + names(large[1]) == [1] * 20 + [2] * 20
    ends = [number for number, batch in enumerate(model.firsts()) if {3, 4, 5} & set(batch)]
    assert max(ends) <= 6  # As many tokens of either of the others as of its own.


def test_a_large_document_has_its_share_though_small_ones_come_all_the_time() -> None:
    ends: list[int] = []  # After how many batches each of the large one's was done.
    small: list[Future[NDArray[np.float32]]] = []

    def run(texts: list[Ids]) -> NDArray[np.float32]:
        ends.extend([len(ends) + len(small)] * any(ids[0] == 1 for ids in texts))
        if len(small) < 200 and (not small or any(ids[0] == 2 for ids in texts)):
            # One after the other; too long to be in one batch with any of the large one's.
            small.append(batcher.submit([text(2, 9)], is_urgent=False))
        return np.ones((len(texts), Model.dimensions), np.float32)

    batcher = Batcher(run, Model.dimensions, batch_tokens=10)
    large = submit(batcher, *[text(1, 5)] * 20)
    assert large.result(WAIT_S).shape == (20, Model.dimensions)
    batcher.close()

    assert len(ends) == 10
    assert ends[-1] < 40


def test_a_batch_is_filled_with_what_pads_less(batcher: Batcher, model: Model) -> None:
    occupy(batcher, model)
    first = submit(batcher, text(1, 4))
    others = [submit(batcher, text(2, 1)), submit(batcher, text(3, 5))]
    model.may_go_on.set()

    assert [names(future) for future in (first, *others)] == [[1], [2], [3]]
    assert model.firsts() == [[0], [1, 3], [2]]

    model.hold()
    occupied = occupy(batcher, model)
    first = submit(batcher, text(4, 4))
    others = [submit(batcher, text(5, 3)), submit(batcher, text(6, 5))]
    model.may_go_on.set()

    assert [names(future) for future in (occupied, first, *others)] == [[0], [4], [5], [6]]
    assert model.firsts()[3:] == [[0], [4, 6], [5]]


def test_a_cancelled_call_s_texts_are_not_run_though_they_are_the_nearest(
    batcher: Batcher, model: Model
) -> None:
    occupy(batcher, model)
    first = submit(batcher, text(1, 5))
    cancelled = submit(batcher, text(2, 5), text(3, 5))
    assert cancelled.cancel()
    model.may_go_on.set()

    assert names(first) == [1]
    assert names(submit(batcher, text(4, 5))) == [4]
    assert model.firsts() == [[0], [1], [4]]


def test_a_call_that_is_done_is_not_kept(batcher: Batcher) -> None:
    gc.disable()
    try:
        vectors = weakref.ref(submit(batcher, text(1), text(2)).result(WAIT_S))
        wait_until(lambda: vectors() is None)
    finally:
        gc.enable()


def test_two_large_documents_go_on_side_by_side(batcher: Batcher, model: Model) -> None:
    occupy(batcher, model)
    futures = [submit(batcher, *[text(name, 5)] * 20) for name in (1, 2)]
    model.may_go_on.set()

    assert [names(future) for future in futures] == [[1] * 20, [2] * 20]
    order = [name for batch in model.firsts()[1:] for name in batch]
    shares = [order[start : start + 4] for start in range(0, 40, 4)]
    assert all(sorted(share) == [1, 1, 2, 2] for share in shares)


def test_a_question_goes_before_all_documents_that_wait(batcher: Batcher, model: Model) -> None:
    model.hold()
    documents = submit(batcher, *[text(1, 10)] * 5)
    assert model.has_begun.wait(WAIT_S)
    question = submit(batcher, text(2, 3), is_urgent=True)
    model.may_go_on.set()

    assert names(question) == [2]
    assert names(documents) == [1] * 5
    assert model.firsts()[:3] == [[1], [2], [1]]


def test_a_text_longer_than_a_batch_gets_one_of_its_own(batcher: Batcher, model: Model) -> None:
    assert names(submit(batcher, text(1, 3), text(2, 25), text(3, 3))) == [1, 2, 3]
    assert model.firsts() == [[1, 3], [2]]


def test_no_texts_are_no_rows_and_no_batch(batcher: Batcher, model: Model) -> None:
    assert submit(batcher).result(WAIT_S).shape == (0, 2)
    assert model.batches == []


def test_an_error_reaches_the_caller_whose_text_it_is_and_nobody_else(batcher: Batcher, model: Model) -> None:
    occupy(batcher, model)
    good = submit(batcher, text(1), text(2))
    bad = submit(batcher, text(POISON))
    also_good = submit(batcher, text(3))
    model.may_go_on.set()

    assert names(good) == [1, 2]
    assert names(also_good) == [3]
    with pytest.raises(ValueError, match="cannot be embedded"):
        bad.result(WAIT_S)


def test_what_is_left_of_a_failed_call_is_not_run(batcher: Batcher, model: Model) -> None:
    bad = submit(batcher, text(POISON, 1), text(1, 10), text(2, 10))
    with pytest.raises(ValueError, match="cannot be embedded"):
        bad.result(WAIT_S)

    assert names(submit(batcher, text(3))) == [3]
    assert [2] not in model.firsts()


def test_a_call_cancelled_while_it_waits_is_not_run(batcher: Batcher, model: Model) -> None:
    first = occupy(batcher, model)
    cancelled = submit(batcher, text(1))
    other = submit(batcher, text(2))
    assert cancelled.cancel()
    model.may_go_on.set()

    assert names(first) == [0]
    assert names(other) == [2]
    assert model.firsts() == [[0], [2]]


def test_a_call_cancelled_in_the_middle_of_its_batch_harms_nobody(batcher: Batcher, model: Model) -> None:
    cancelled = occupy(batcher, model)
    other = submit(batcher, text(1))
    assert cancelled.cancel()
    model.may_go_on.set()

    assert names(other) == [1]
    with pytest.raises(CancelledError):
        cancelled.result(WAIT_S)


def test_calls_that_have_all_been_cancelled_are_passed_over(batcher: Batcher, model: Model) -> None:
    occupy(batcher, model)
    for name in (1, 2):
        submit(batcher, text(name)).cancel()
    model.may_go_on.set()

    assert names(submit(batcher, text(3))) == [3]
    assert model.firsts() == [[0], [3]]


def test_close_finishes_the_batch_under_way_and_fails_what_waits(batcher: Batcher, model: Model) -> None:
    under_way = occupy(batcher, model)
    waiting = [submit(batcher, text(1), is_urgent=is_urgent) for is_urgent in (True, False)]
    closing = threading.Thread(target=batcher.close)
    closing.start()
    with batcher._changed:
        assert batcher._changed.wait_for(lambda: batcher._is_closed, WAIT_S)
    model.may_go_on.set()
    closing.join(WAIT_S)

    assert names(under_way) == [0]
    for future in waiting:
        with pytest.raises(RuntimeError, match="was closed"):
            future.result(WAIT_S)


def test_nothing_is_taken_after_close_and_its_thread_is_gone(batcher: Batcher) -> None:
    batcher.close()
    batcher.close()

    for texts in ([text(1)], []):
        with pytest.raises(RuntimeError, match="closed"):
            batcher.submit(texts, is_urgent=False)
    assert not batcher._thread.is_alive()


@given(calls=st.lists(st.lists(st.integers(1, 30), max_size=12), max_size=8), budget=st.integers(1, 40))
def test_every_text_is_run_once_in_batches_within_the_budget(calls: list[list[int]], budget: int) -> None:
    model = Model()
    batcher = Batcher(model.run, model.dimensions, batch_tokens=budget)
    futures = [
        submit(batcher, *[text(row, length) for row, length in enumerate(lengths)], is_urgent=number % 3 == 0)
        for number, lengths in enumerate(calls)
    ]
    for lengths, future in zip(calls, futures, strict=True):
        assert future.result(WAIT_S).tolist() == [[row, length] for row, length in enumerate(lengths)]
    batcher.close()

    assert sum(map(len, model.batches)) == sum(map(len, calls))
    assert all(len(batch) == 1 or len(batch) * max(map(len, batch)) <= budget for batch in model.batches)
