"""What is written into the database is what PostgreSQL would have made of the same words."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from app.core.config import Settings
from app.core.database import database
from app.models.lexicon import lexicon_of
from app.models.sql import fetch
from app.words.lexicon import Lexicon
from app.words.passage import MOST_PASSAGES, MOST_WEIGHTS, Passage, passage_words
from app.words.reading import written
from app.words.slots import slot_of, sparsevec

AVERAGE = 100.0

WORDS = [
    "gate",
    "gates",
    "Opening",
    "the",
    "of",
    "at",
    "six",
    "swan's",
    "Cygnet",
    "12",
    "b52",
    "3.14",
    "high-water",
]

# The average length is an argument: `weighed_length` of a collection is no concern of these.
READ = """
    SELECT words::text, length, weights::text FROM (
        SELECT $1::tsvector AS words, $2::int AS length, $3::sparsevec AS weights
    ) AS made
"""
MADE = """
    SELECT words || array_to_tsvector(ARRAY[$2]) AS words, length, word_weights(words, length, $3) AS weights
    FROM (
        SELECT words, (SELECT COALESCE(sum(cardinality(positions)), 0) FROM unnest(words)) AS length
        FROM to_tsvector('english', readable($1)) AS words
    ) AS read
"""


@pytest.fixture(autouse=True)
async def opened(settings: Settings, migrated: None) -> AsyncIterator[None]:
    async with database(settings):
        yield


async def ours(*texts: str, mark: str = "=7") -> list[dict[str, Any]]:
    keys = [written(text) for text in texts]
    lexicon = await lexicon_of("english", [key for each in keys for key in each])
    read = passage_words([Passage(each, mark, AVERAGE) for each in keys], lexicon)
    return [(await fetch(READ, each.tsvector, each.length, each.sparsevec))[0] for each in read]


async def postgresqls(text: str, mark: str = "=7") -> dict[str, Any]:
    (row,) = await fetch(
        f"SELECT words::text, length::int, weights::text FROM ({MADE}) AS made", text, mark, AVERAGE
    )
    return row


async def test_words_are_those_of_postgresql_where_nothing_ties_them() -> None:
    chance = random.Random(7)
    texts = [" ".join(chance.choices(WORDS, k=length)) for length in (0, 1, 7, 50, 400, 400, 1)]
    assert await ours(*texts) == [await postgresqls(text) for text in texts]


async def test_a_text_of_many_words_keeps_as_many_places_as_postgresql() -> None:
    text = " ".join(f"w{number % 9000} gate" for number in range(20_000))
    assert await ours(text) == [await postgresqls(text)]


async def test_of_more_words_than_can_be_weighed_all_are_found() -> None:
    (row,) = await ours(" ".join(f"w{number}" for number in range(MOST_WEIGHTS + 1)))
    assert (row["length"], row["words"].count(":")) == (MOST_WEIGHTS + 1, MOST_WEIGHTS + 1)
    assert row["weights"].count(":") == MOST_WEIGHTS


async def test_as_many_passages_as_there_may_be() -> None:
    texts = [f"gate {number} of {number % 7}" for number in range(MOST_PASSAGES)]
    assert await ours(*texts) == [await postgresqls(text) for text in texts]


@hypothesis_settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(texts=st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), max_size=4))
async def test_any_text_can_be_written(texts: list[str]) -> None:
    for text, row in zip(texts, await ours(*texts), strict=True):
        assert (row["length"] > 0) == (row["weights"][:2] != "{}"), text


@pytest.mark.parametrize(
    "lexeme", ["", "a", "gate", "elevenbytes", "twelve bytes", "thirteen byte", "шлюз", "x" * 2046]
)
async def test_a_lexemes_slot_is_the_databases(lexeme: str) -> None:
    (row,) = await fetch("SELECT word_slot($1) - 1 AS slot", lexeme)
    assert slot_of(lexeme.encode()) == row["slot"]


async def test_two_lexemes_in_one_slot_have_the_weight_of_the_larger_one() -> None:
    lexicon = Lexicon()
    for key in ("1", "2", "3"):
        lexicon.learn(lexicon.unknown([key]), {})
    lexicon.slots[:] = [5, 9, 5]
    (words,) = passage_words([Passage(["1", "2", "3", "3"], "=7", AVERAGE)], lexicon)
    (row,) = await fetch(READ, words.tsvector, words.length, words.sparsevec)
    once, twice = (times * 2.5 / (times + 1.5 * (0.25 + 0.75 * 4 / AVERAGE)) for times in (1, 2))
    assert row["words"] == "'1':1 '2':2 '3':3,4 '=7'"
    (expected,) = await fetch("SELECT $1::sparsevec::text AS weights", sparsevec({5: twice, 9: once}))
    assert row["weights"] == expected["weights"]
