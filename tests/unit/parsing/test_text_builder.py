from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import NoText, TextTooLong
from app.parsing.tables import append_table
from app.parsing.text_builder import MAX_HEADINGS, MAX_WARNINGS, TextBuilder, clean, one_line

anything = st.text(
    st.characters() | st.sampled_from("\n\r\t \0\u2028\ud83d\ude00\ufeff\x85\u00a0"), max_size=60
)
steps = st.lists(
    st.tuples(st.sampled_from(["paragraph", "line", "verbatim", "heading", "page", "table"]), anything),
    max_size=30,
)


@given(anything)
def test_clean_text_is_what_postgres_and_utf8_take(text: str) -> None:
    cleaned = clean(text)
    cleaned.encode("utf-8")
    assert not re.search(r"[\x00\r\v\f\x85\u2028\u2029]|\n{3,}|[ \t]\n|[ \t]\Z", cleaned)


@given(anything)
def test_cleaning_twice_changes_nothing(text: str) -> None:
    assert clean(clean(text)) == clean(text)
    assert clean(clean(text, keep_blank_lines=True), keep_blank_lines=True) == clean(
        text, keep_blank_lines=True
    )


@given(st.text(st.characters(categories=["L", "N", "P"], exclude_characters="\ufffe\uffff")))
def test_clean_leaves_words_alone(text: str) -> None:
    assert clean(text) == text


def test_clean_joins_surrogate_halves_and_replaces_lone_ones() -> None:
    assert clean("a\ud83d\ude00b\ud83dc") == "a😀b\ufffdc"


def test_clean_takes_all_line_ends_for_one() -> None:
    assert clean("a\r\nb\rc\x0bd\u2028e\x85f") == "a\nb\nc\nd\ne\nf"


def test_clean_keeps_the_blank_lines_of_code() -> None:
    assert clean("a\n\n\n\nb") == "a\n\nb"
    assert clean("a\n\n\n\nb", keep_blank_lines=True) == "a\n\n\n\nb"


def test_clean_is_linear_in_runs_of_blanks() -> None:
    text = " " * 1_000_000 + "x"
    assert clean(text) == text


@given(steps)
def test_every_offset_points_at_what_was_noted(moves: list[tuple[str, str]]) -> None:
    builder = TextBuilder(100_000)
    expected: list[tuple[int, str]] = []
    for number, (move, text) in enumerate(moves, start=1):
        if move == "page":
            builder.page(number)
        elif move == "heading":
            builder.heading(text, 1)
        elif move == "table":
            append_table(builder, [[text, f"{text}s"], [text]])
        elif (start := getattr(builder, move)(text)) is not None:
            kept = clean(text, keep_blank_lines=move == "verbatim").strip("\n").rstrip()
            expected.append((start, kept))
    if builder.length == 0:
        with pytest.raises(NoText):
            builder.build("text/plain")
        return
    document = builder.build("text/plain")
    assert len(document.text) == builder.length
    for start, piece in expected:
        assert document.text[start : start + len(piece)] == piece
    for heading in document.headings:
        assert document.text.startswith(heading.title, heading.char_start)
    for table in document.tables:
        assert document.text[: table.char_start].endswith(f"{table.header}\n")
    for page in document.pages:
        assert document.text[page.char_start : page.char_end].strip()
    ends = [0, *(page.char_end for page in document.pages)]
    assert all(page.char_start >= end for page, end in zip(document.pages, ends, strict=False))


def test_pages_without_text_leave_no_trace() -> None:
    builder = TextBuilder(100)
    for number, text in enumerate(["one", "  ", "three"], start=1):
        builder.page(number)
        builder.paragraph(text)
    document = builder.build("application/pdf")
    assert [page.number for page in document.pages] == [1, 3]
    assert [document.text[page.char_start : page.char_end] for page in document.pages] == ["one", "three"]


def test_the_limit_is_met_while_building() -> None:
    builder = TextBuilder(10)
    builder.paragraph("12345")
    builder.line("6789")
    assert builder.length == 10
    with pytest.raises(TextTooLong) as caught:
        builder.line("x")
    assert caught.value.limit_chars == 10


def test_tables_lose_empty_rows_and_trailing_cells() -> None:
    builder = TextBuilder(100)
    builder.paragraph("before")
    append_table(builder, [["a", "b\nc", ""], ["", ""], ["", "d"]])
    assert builder.build("text/csv").text == "before\n\na | b c\n | d"


def test_headings_and_warnings_are_bounded() -> None:
    builder = TextBuilder(10_000_000)
    for number in range(MAX_HEADINGS + 10):
        builder.heading(str(number), 1)
        builder.warn(f"warning {number}")
    document = builder.build("text/plain")
    assert len(document.headings) == MAX_HEADINGS
    assert len(document.warnings) == MAX_WARNINGS


def test_the_first_title_that_says_something_stays() -> None:
    builder = TextBuilder(100)
    for title in (None, " \n", "The\n title", "Another"):
        builder.set_title(title)
    builder.paragraph("text")
    assert builder.build("text/plain").title == "The title"


def test_one_line_has_single_blanks() -> None:
    assert one_line(" a \n\u00a0 b\0c\t") == "a bc"
