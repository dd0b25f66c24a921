"""What is read without a child is read as a child would read it."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import TextTooLong
from app.parsing.registry import parse
from app.parsing.small_text import SMALL_BYTES, parse_small_text
from app.parsing.text_builder import clean

LIMIT = 1000


@given(
    st.one_of(
        st.binary(max_size=200),
        st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")),
        st.text("ab \t\n\r.<#\u00ad\u2028é", max_size=200).map(str.encode),
    ),
    st.sampled_from([None, "a.txt", "a.md", "a.csv", "a.py", "a.html", "a.json"]),
)
def test_it_is_what_a_child_answers_or_nothing(content: bytes, name: str | None) -> None:
    parsed = parse_small_text(content, name, max_text_chars=LIMIT)
    if parsed is not None:
        assert parsed == parse(io.BytesIO(content), name=name, max_text_chars=LIMIT)


@pytest.mark.parametrize("content", [b"A line.\n\n\nAnother. \n", "Grüße\r\naus Köln\u00a0!".encode()])
def test_small_plain_text_needs_no_child(content: bytes) -> None:
    assert parse_small_text(content, None, max_text_chars=LIMIT) is not None


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"a" * (SMALL_BYTES + 1), None),
        (b"# Title", "a.md"),
        (b"<html><body>a</body></html>", None),
        (b"%PDF-1.7", None),
        (b"\x89PNG\r\n", None),
        ("Grüße".encode("cp1252"), None),
        ("Grüße".encode("utf-16"), None),
        (b" \n ", None),
        (b"", None),
    ],
)
def test_all_else_is_left_to_one(content: bytes, name: str | None) -> None:
    assert parse_small_text(content, name, max_text_chars=LIMIT) is None


def test_a_text_that_is_too_long_is_refused_here_too() -> None:
    with pytest.raises(TextTooLong):
        parse_small_text(b"a" * (LIMIT + 1), None, max_text_chars=LIMIT)


@given(st.text(" \t\na", max_size=40))
def test_plain_text_is_cleaned_as_text_with_other_characters_is(text: str) -> None:
    assert clean("é" + text) == "é" + clean(text)


@pytest.mark.parametrize(
    ("name", "warnings"),
    [
        ("report.docx", ["It is named like a Word file, and was read as the plain text that it is."]),
        (
            "feed.json",
            [
                "It is named like a JSON file, and was read as the plain text that it is "
                "(line 1, column 2: Expecting property name enclosed in double quotes)."
            ],
        ),
        ("notes.txt", []),
        (None, []),
    ],
)
def test_text_with_the_name_of_something_else_is_read_with_a_warning(
    name: str | None, warnings: list[str]
) -> None:
    parsed = parse_small_text(b"{Only words}", name, max_text_chars=100)

    assert parsed is not None
    assert list(parsed.warnings) == warnings
