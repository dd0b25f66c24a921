"""Where the words of texts are."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.words.reading import is_unspaced, placed, written

TEXTS = st.text(
    st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from(" .@_-'/ aé北ガ한ำ\u0301ｶﾞ"))
)


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", []),
        ("The gate, the lock.", ["The", "gate", "the", "lock"]),
        ("high-speed and/or O'Brien’s", ["high", "speed", "and", "or", "O", "Brien", "s"]),
        ("(see app.client.errors; snake_case)", ["see", "app.client.errors", "snake_case"]),
        ("a.b@c.de … 3.14 1,000", ["a.b@c.de", "3.14", "1", "000"]),
        ("end.Next .hidden trailing. @home", ["end.Next", "hidden", "trailing", "home"]),
        ("“quoted”—dashed", ["quoted", "dashed"]),
        ("北京大学。水", ["北京", "京大", "大学", "学", "水"]),
        ("iPhone手机v2", ["iPhone", "手机", "机", "v2"]),
        ("한국\u1112\u1161\u11ab", ["한국", "국한", "한"]),
        ("ｶﾞｽ", ["ガス", "ス"]),
        ("cafe\u0301 soft\u00adened zero\u200bwidth", ["cafe\u0301", "soft\u00adened", "zero", "width"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
    ],
)
def test_the_keys_of_a_text(text: str, keys: list[str]) -> None:
    assert written(text) == keys


@given(TEXTS)
def test_keys_are_the_same_wherever_they_are_and_their_places_are_in_order(text: str) -> None:
    there = list(placed(text))
    assert [each.key for each in there] == written(text)
    assert all(0 <= each.start < each.end <= len(text) for each in there)
    assert [each.start for each in there] == sorted(each.start for each in there)
    if unicodedata.is_normalized("NFKC", text):
        assert [text[each.start : each.end] for each in there] == written(text)


def test_no_letter_and_no_digit_is_left_out() -> None:
    left_out = [
        char
        for char in map(chr, range(sys.maxunicode + 1))
        if (unicodedata.category(char)[0] == "L" or char.isdecimal()) and not written(char)
    ]
    assert left_out == []


def test_blanks_and_punctuation_of_ascii_are_in_no_word() -> None:
    assert [char for char in map(chr, range(128)) if written(char)] == [
        char for char in map(chr, range(128)) if char.isalnum() or char == "_"
    ]


@pytest.mark.parametrize(
    ("text", "expected"), [("北", True), ("北京", True), ("北a", False), ("", False), ("a", False)]
)
def test_what_is_written_without_spaces(text: str, expected: bool) -> None:
    assert is_unspaced(text) is expected
