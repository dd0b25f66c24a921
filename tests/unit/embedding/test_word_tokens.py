"""Word by word, a text has the tokens that its tokenizer finds in it as a whole."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import BPE

from app.embedding import minilm_files, static, word_tokens
from app.embedding.surrogates import encodable
from app.embedding.word_tokens import WordTokens

SENTENCEPIECE = Tokenizer.from_file(str(static.package_files() / static.TOKENIZER))
BERT = Tokenizer.from_file(str(minilm_files.package_files() / "tokenizer.json"))
BERT.no_truncation()
BERT.no_padding()

OF_SENTENCEPIECE = WordTokens.of_sentencepiece(SENTENCEPIECE)
OF_BERT = WordTokens.of_bert(BERT)

WORDS = (
    "a ing hello world The . , ( lock-keeper 1,234! \u2581 é ß İ ﬁ Σ ΣΑΣ e\u0301 \u0301 ก็ 한 日本 水闸gate"
    " 😀 👩\u200d👧 <s> </s> <unk> <0x0A> [CLS] [SEP] [UNK] [PAD] 1984"
    " \ud800 \x00 \x07 \x1c \x85 \xad \ufeff \ufffd"
)
BLANKS = (" ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", "\xa0", "\u2003", "\u2028", "\u3000")
PIECES = st.sampled_from([*WORDS.split(" "), *BLANKS, "x" * 99, "y" * 101])
TEXTS = st.lists(PIECES, max_size=12).map("".join) | st.text()


@given(TEXTS)
@example("")
@example(" ")
@example("the same word and the same word")
def test_what_sentencepiece_makes_of_words_it_makes_of_the_text(text: str) -> None:
    encoding = SENTENCEPIECE.encode(encodable(text), add_special_tokens=False)
    spans = []
    for token, (start, end) in zip(encoding.tokens, encoding.offsets, strict=True):
        begin = next((at for at in range(start, end) if not text[at].isspace()), end)
        if begin < end and set(token) != {"\u2581"}:
            spans.append([begin, end])

    assert OF_SENTENCEPIECE.ids(text).tolist() == encoding.ids
    assert OF_SENTENCEPIECE.offsets(text).tolist() == spans


@given(TEXTS)
@example("")
@example(" ")
@example("the same word and the same word")
def test_what_bert_makes_of_words_it_makes_of_the_text(text: str) -> None:
    encoding = BERT.encode(encodable(text), add_special_tokens=False)

    assert OF_BERT.ids(text).tolist() == encoding.ids
    assert OF_BERT.offsets(text).tolist() == [list(span) for span in encoding.offsets]


def test_of_many_words_only_so_many_are_kept_and_no_long_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_tokens, "WORDS_KEPT", 20)
    tokens = WordTokens.of_bert(BERT)

    for number in range(50):
        text = f"word{number} and {'x' * 100} are {number}"
        assert tokens.ids(text).tolist() == BERT.encode(text, add_special_tokens=False).ids

    assert tokens._known.ids.keys() == tokens._known.spans.keys()
    assert 0 < len(tokens._known.ids) <= 20 + len(text.split())
    assert max(map(len, tokens._known.ids)) <= word_tokens.LONGEST_KEPT


def test_a_tokenizer_with_tokens_over_the_end_of_a_word_is_refused() -> None:
    over = Tokenizer(BPE({"a": 0, "\u2581": 1, "a\u2581": 2}, [("a", "\u2581")]))

    with pytest.raises(ValueError, match="over the end of a word"):
        WordTokens.of_sentencepiece(over)


def test_a_tokenizer_that_is_not_of_its_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="not one of BERT's"):
        WordTokens.of_bert(SENTENCEPIECE)
