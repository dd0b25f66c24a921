"""Whether a worker process should take more in hand."""

from __future__ import annotations

import pytest

from app.models.document import Document, Stage
from app.services import load as load_module
from app.services.load import COUNTED_S, ENOUGH_S, FIRST_PACE, Load
from tests.unit.services.test_company import Clock

READERS = 2


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(load_module, "time", clock)
    return clock


def has_room(*in_hand: Document) -> bool:
    return Load(lambda: in_hand, readers=READERS).has_room()


def file() -> Document:
    return Document(content_key="somewhere")


def embedding(chunks: int, *, done: int = 0) -> Document:
    document = Document()
    document.enter(Stage.EMBEDDING, unit="chunks", total=chunks)
    document.progress_done = done
    return document


def test_there_is_room_until_more_chunks_wait_than_are_soon_embedded() -> None:
    enough = int(FIRST_PACE * ENOUGH_S)
    assert has_room()
    assert has_room(embedding(enough - 1))
    assert not has_room(embedding(enough - 1), embedding(1))
    assert has_room(embedding(10 * enough, done=9 * enough + 1))


def test_there_is_none_beside_as_many_unread_files_as_are_read_at_once() -> None:
    files = [file() for _ in range(READERS)]
    assert has_room(*files[1:], *(Document() for _ in range(20)))  # Small ones are read in a moment.
    assert not has_room(*files)
    files[0].enter(Stage.PARSING)
    assert not has_room(*files)
    files[0].enter(Stage.EMBEDDING, unit="chunks", total=1)
    assert has_room(*files)
    files[0].enter(Stage.STORING)
    assert has_room(*files)


def test_what_is_soon_is_learned_from_what_has_been_embedded(clock: Clock) -> None:
    in_hand = [embedding(300)]
    load = Load(lambda: in_hand, readers=READERS)
    assert not load.has_room()
    for _ in range(20):
        with load.embedding(200), load.embedding(200):  # Two at once take as long as both together.
            clock.now += COUNTED_S
        clock.now += 100  # With nothing to do.
    assert load.has_room()
    for _ in range(20):
        with pytest.raises(OSError, match="away"), load.embedding(400):
            clock.now += COUNTED_S
            raise OSError("away")
    assert not load.has_room()
