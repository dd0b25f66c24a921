"""What is known about words: asked once, forgotten when it is too much, the same for all who ask at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from app.core.config import Settings
from app.core.database import database
from app.models import lexicon as lexicons
from app.models.lexicon import lexicon_of
from app.models.sql import fetch
from app.words.lexicon import Term

KEYS = ["Gates", "the", "naïve", "keeper.notes", "北京"]
TERMS = [
    [Term(0, "gate")],
    [],
    [Term(0, "naiv")],
    [Term(0, "keeper.notes"), Term(0, "keeper"), Term(1, "note")],
    [Term(0, "北京"), Term(0, "北")],
]


@pytest.fixture(autouse=True)
async def opened(settings: Settings, migrated: None) -> AsyncIterator[None]:
    lexicons._lexicons.clear()
    async with database(settings):
        yield


async def test_a_key_is_found_by_its_stems_without_the_words_that_say_nothing() -> None:
    lexicon = await lexicon_of("english", KEYS)
    assert [lexicon.terms(key) for key in KEYS] == TERMS
    assert [lexicon.width(key) for key in KEYS] == [1, 1, 1, 2, 1]


async def test_each_language_has_its_own() -> None:
    german, simple = await lexicon_of("german", ["Schlüssel", "the"]), await lexicon_of("simple", ["the"])
    assert german.terms("Schlüssel") == [Term(0, "schlussel")]
    assert german.terms("the") == simple.terms("the") == [Term(0, "the")]


async def test_what_is_asked_at_the_same_time_is_learned_once() -> None:
    some = await asyncio.gather(*(lexicon_of("english", KEYS[:number]) for number in (5, 4, 3, 5)))
    assert len({id(lexicon) for lexicon in some}) == 1
    assert [some[0].terms(key) for key in KEYS] == TERMS


async def test_who_has_a_lexicon_keeps_it_when_all_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lexicons, "BYTES_KEPT", 0)
    before = await lexicon_of("english", KEYS)
    after = await lexicon_of("english", ["horn"])
    assert after is not before
    assert after.unknown(["Gates"])
    assert [before.terms(key) for key in KEYS] == TERMS


async def test_a_dictionary_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    async def noted(query: str, *values: object) -> list[dict[str, object]]:
        asked.append(values[1])
        return await fetch(query, *values)

    monkeypatch.setattr(lexicons, "fetch", noted)
    for keys in (["gate", "b52", "北京"], ["gate", "b52"], ["gate", "lock"], ["3.14", "c52"]):
        await lexicon_of("english", keys)
    assert asked == [["gate"], ["lock"]]
