"""Passages, put together again, are the text that they were cut from."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.chunking.chunker import Chunker
from app.chunking.joining import Joiner, gaps_between
from app.embedding.hash import HashEmbedder
from app.parsing.parsed_document import ParsedDocument

words = st.sampled_from(
    ["gate", "lock.", "Überlauf", "水", "🚢", "e\u0301", "a-b", "x" * 70, "7.5", "(sluice)"]
)
spaces = st.sampled_from([" ", "  ", "\n", "\n\n", "\t", "\r\n", "\u00a0", "\u2003", " \n \n ", "\u3000"])
texts = st.lists(st.one_of(words, spaces), max_size=300).map("".join)


@dataclass(frozen=True)
class Stored:
    gap: str
    text: str
    char_start: int
    char_end: int


def stored(text: str, limit: int, overlap: int) -> list[Stored]:
    chunker = Chunker(
        HashEmbedder().token_offsets, chunk_tokens=limit, overlap_tokens=overlap, max_tokens=254
    )
    passages = chunker.split(ParsedDocument(text, "text/plain"))
    return [
        Stored(gap, passage.text, passage.char_start, passage.char_end)
        for gap, passage in zip(gaps_between(passages, text), passages, strict=True)
    ]


@settings(deadline=None, max_examples=200)
@given(text=texts, limit=st.integers(16, 40), overlap=st.integers(0, 8), at_once=st.integers(1, 5))
def test_a_text_comes_back_up_to_the_end_of_its_last_chunk(
    text: str, limit: int, overlap: int, at_once: int
) -> None:
    chunks = stored(text, limit, overlap)
    joiner = Joiner()

    joined = "".join(
        part
        for first in range(0, len(chunks), at_once)
        for part in joiner.joined(chunks[first : first + at_once])
    )

    end = max((chunk.char_end for chunk in chunks), default=0)
    assert joined == text[:end]
    assert joiner.reached == end
    assert not text[end:].strip()
    for chunk in chunks:
        assert joined[chunk.char_start : chunk.char_end] == chunk.text


@pytest.mark.parametrize("overlap", [0, 4])
def test_what_overlaps_comes_once(overlap: int) -> None:
    text = " ".join(f"word{n}" for n in range(100))
    chunks = stored(text, 16, overlap)

    assert (sum(len(chunk.text) for chunk in chunks) > len(text)) == (overlap > 0)
    assert "".join(Joiner().joined(chunks)) == text


def test_a_chunk_within_the_one_before_adds_nothing() -> None:
    chunks = [Stored("", "abcdef", 0, 6), Stored("", "cd", 2, 4), Stored("  ", "g", 8, 9)]

    assert "".join(Joiner().joined(chunks)) == "abcdef  g"
