"""Word by word, a text has the tokens that its tokenizer finds in it as a whole."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import BPE

from app.embedding import word_tokens
from app.embedding.static import TOKENIZER, package_files
from app.embedding.surrogates import encodable
from app.embedding.word_tokens import WordTokens

TOKENIZED = Tokenizer.from_file(str(package_files() / TOKENIZER))
WORD_TOKENS = WordTokens(TOKENIZED)

WORDS = "a ing hello world The . , ( \u2581 é ß 日本 😀 👩\u200d👧 <s> </s> <unk> <0x0A> 1984 \ud800 \x00"
BLANKS = (" ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", "\xa0", "\u2003")
PIECES = st.sampled_from([*WORDS.split(" "), *BLANKS])


def whole(text: str) -> tuple[list[int], list[tuple[int, int]]]:
    """Ids, and the spans of the tokens that are not blank."""
    encoding = TOKENIZED.encode(encodable(text), add_special_tokens=False)
    spans = []
    for token, (start, end) in zip(encoding.tokens, encoding.offsets, strict=True):
        begin = next((at for at in range(start, end) if not text[at].isspace()), end)
        if begin < end and set(token) != {"\u2581"}:
            spans.append((begin, end))
    return encoding.ids, spans


@given(st.lists(PIECES, max_size=12).map("".join) | st.text())
@example("")
@example(" ")
@example("the same word and the same word")
def test_ids_and_offsets_are_those_of_the_text_as_a_whole(text: str) -> None:
    ids, spans = whole(text)

    assert WORD_TOKENS.ids(text).tolist() == ids
    assert WORD_TOKENS.offsets(text).tolist() == [list(span) for span in spans]


def test_of_many_words_only_so_many_are_kept_and_no_long_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_tokens, "WORDS_KEPT", 20)
    tokens = WordTokens(TOKENIZED)

    for number in range(50):
        text = f"word{number} and {'x' * 100} are {number}"
        assert tokens.ids(text).tolist() == TOKENIZED.encode(text, add_special_tokens=False).ids

    assert 0 < len(tokens._known) <= 20
    assert max(map(len, tokens._known)) <= word_tokens.LONGEST_KEPT


def test_a_tokenizer_with_tokens_over_the_end_of_a_word_is_refused() -> None:
    over = Tokenizer(BPE({"a": 0, "\u2581": 1, "a\u2581": 2}, [("a", "\u2581")]))

    with pytest.raises(ValueError, match="over the end of a word"):
        WordTokens(over)
