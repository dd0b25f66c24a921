"""Whether a worker process should take more in hand."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import pytest

from app.embedding.hash import HashEmbedder
from app.embedding.protocol import Embedder
from app.models.document import Document, Stage
from app.services import pace as pace_module
from app.services.load import ENOUGH_S, FAST, FIRST_PACE, Load
from tests.unit.services.test_company import Clock

READERS = 2


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pace_module, "time", clock)
    return clock


def file() -> Document:
    return Document(content_key="somewhere")


def embedding(chunks: int, *, done: int = 0) -> Document:
    document = Document()
    document.enter(Stage.EMBEDDING, unit="chunks", total=chunks)
    document.progress_done = done
    return document


def has_room(*before: Document, in_hand: Sequence[Document] = (), embedder: Embedder | None = None) -> bool:
    """With some before the model, and others in hand."""
    load = Load(lambda: in_hand, readers=READERS)
    with ExitStack() as work:
        for document in before:
            work.enter_context(load.before(embedder or HashEmbedder(), document))
        found = load.has_room()
    assert load.has_room() or in_hand
    return found


def test_there_is_room_until_more_chunks_wait_than_are_soon_embedded() -> None:
    enough = int(FIRST_PACE * ENOUGH_S)
    assert has_room()
    assert has_room(embedding(enough - 1))
    assert not has_room(embedding(enough - 1), embedding(1))
    assert has_room(embedding(10 * enough, done=9 * enough + 1))


def test_an_attempt_that_was_given_up_ends_beside_the_one_after_it() -> None:
    load = Load(list, readers=READERS)
    lost, again = embedding(10_000), embedding(10_000)
    lost.id = again.id
    lost.attempt, again.attempt = 1, 2
    with load.before(HashEmbedder(), again):
        with load.before(HashEmbedder(), lost):
            pass
        assert not load.has_room()
    assert load.has_room()


def test_what_a_service_elsewhere_embeds_takes_no_room() -> None:
    elsewhere = HashEmbedder()
    elsewhere.computes_here = False
    assert has_room(embedding(10_000), embedding(10_000), embedder=elsewhere)


def test_there_is_none_beside_as_many_unread_files_as_are_read_at_once() -> None:
    files = [file() for _ in range(READERS)]
    small = [Document() for _ in range(20)]  # Read in a moment.
    assert has_room(in_hand=[*files[1:], *small])
    assert not has_room(in_hand=files)
    files[0].enter(Stage.PARSING)
    assert not has_room(in_hand=files)
    files[0].enter(Stage.EMBEDDING, unit="chunks", total=1)
    assert has_room(in_hand=files)
    files[0].enter(Stage.STORING)
    assert has_room(in_hand=files)


def test_a_message_of_which_nothing_is_known_may_bring_a_file() -> None:
    load = Load(list, readers=READERS)
    assert load.has_room(READERS - 1)
    assert not load.has_room(READERS)
    with load.claimed():
        assert load.has_room(READERS)
        assert not load.has_room(READERS + 1)
    assert not load.has_room(READERS)


def test_what_is_soon_is_learned_from_what_has_been_embedded(clock: Clock) -> None:
    load = Load(list, readers=READERS)

    def has_room() -> bool:
        with load.before(HashEmbedder(), embedding(300)):
            return load.has_room()

    assert not has_room()
    for _ in range(20):
        with (
            load.embedding(HashEmbedder(), 200),
            load.embedding(HashEmbedder(), 200),
        ):  # Two at once take as long as both together.
            clock.now += 0.5
        clock.now += 100  # With nothing to do.
    assert has_room()
    for _ in range(20):
        with pytest.raises(OSError, match="away"), load.embedding(HashEmbedder(), 400):
            clock.now += 0.5
            raise OSError("away")
    assert not has_room()
    for _ in range(2000):  # Until the pace is next to nothing.
        with pytest.raises(OSError, match="away"), load.embedding(HashEmbedder(), 400):
            clock.now += 0.5
            raise OSError("away")
    assert load.has_room()


def test_a_model_is_slow_or_fast_by_its_own_time(clock: Clock) -> None:
    load = Load(list, readers=READERS)
    elsewhere = HashEmbedder()
    elsewhere.computes_here = False
    with load.embedding(elsewhere, 1):
        clock.now += 60
    assert not load.is_model_slow()
    for chunks_per_s, is_slow in ((FAST * 2, False), (FAST / 2, True)):
        for _ in range(20):
            with load.embedding(HashEmbedder(), int(chunks_per_s)):
                clock.now += 1
            clock.now += 100  # With other work.
        assert load.is_model_slow() == is_slow
