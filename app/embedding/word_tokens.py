"""The tokens of a text out of those of its words, of which most were seen before."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer
from tokenizers.normalizers import Replace

from app.embedding.protocol import offsets_of
from app.embedding.surrogates import encodable

#: What stands for a blank in the vocabularies of SentencePiece.
BLANK = "\u2581"
#: A word with the blanks before it; blanks and line feeds that have no word behind them.
WORD = re.compile(r" *[^ \n]+| +|\n+")

#: A longer word is not kept: it hardly comes again.
LONGEST_KEPT = 48
#: So many words are kept, and those of one more text, at 300 to 700 bytes each; then all are forgotten, and
#: the usual ones soon are back.
WORDS_KEPT = 32_768

#: Two int32.
SPAN_BYTES = 8

#: Where the tokens of a text, or of a word, begin and end in it.
Spans = Callable[[str, Encoding], Iterable[tuple[int, int]]]


class _Known(NamedTuple):
    """The tokens of words, as bytes: those of many words are put together faster than numbers.

    A token that is nothing but white space has an id and no span.
    """

    ids: dict[str, bytes]  # Of an int32 each.
    spans: dict[str, bytes]  # Where each begins and ends in the word, leading blanks left out.


class WordTokens:
    """What a tokenizer makes of texts, several times as fast. Any number of threads may use it at once.

    Made by `of_sentencepiece` or `of_bert`, for tokenizers of which no token reaches from one word into the
    next: the tokens of a text are those of its words.

    Args of the constructor:
        whole: The tokenizer.
        single: The same for one word, with the blanks before it, in the middle of a text.
        spans: Of an encoding by either.
        apart: A text with any of these is tokenised as a whole.
    """

    def __init__(self, whole: Tokenizer, single: Tokenizer, *, spans: Spans, apart: Iterable[str]) -> None:
        self._whole = whole
        self._single = single
        self._spans = spans
        self._apart = tuple(apart)
        self._known = _Known({}, {})

    @classmethod
    def of_sentencepiece(cls, tokenizer: Tokenizer) -> Self:
        """For one that merges pairs, and takes a text as one long word with a blank before it.

        No token of its vocabulary has a blank or a line feed behind anything else, so that no merge reaches
        over the end of a word.

        Raises:
            ValueError: It has other tokens.
        """
        if any(not WORD.fullmatch(token.replace(BLANK, " ")) for token in tokenizer.get_vocab()):
            raise ValueError("This tokenizer has tokens that reach over the end of a word.")
        single = Tokenizer.from_str(tokenizer.to_str())
        single.normalizer = Replace(" ", BLANK)
        return cls(tokenizer, single, spans=_without_blanks, apart=[BLANK, *_special(tokenizer)])

    @classmethod
    def of_bert(cls, tokenizer: Tokenizer) -> Self:
        """For one that splits at white space before anything else, and changes characters one by one.

        Raises:
            ValueError: It is another one.
        """
        parts = json.loads(tokenizer.to_str())
        kinds = [(parts[part] or {}).get("type") for part in ("normalizer", "pre_tokenizer", "model")]
        if kinds != ["BertNormalizer", "BertPreTokenizer", "WordPiece"]:
            raise ValueError(f"This tokenizer is not one of BERT's: {kinds}.")
        return cls(tokenizer, tokenizer, spans=_as_told, apart=_special(tokenizer))

    def ids(self, text: str) -> NDArray[np.int32]:
        """Of all tokens: (n,)."""
        words = self._words(text)
        if words is None:
            (encoding,) = self._whole.encode_batch_fast([encodable(text)], add_special_tokens=False)
            return np.array(encoding.ids, np.int32)
        return np.frombuffer(b"".join(self._of(words, "ids")), np.int32)

    def offsets(self, text: str) -> NDArray[np.int32]:
        """Where each begins and ends: (n, 2), leading white space left out, and so tokens of nothing else."""
        words = self._words(text)
        if words is None:
            (encoding,) = self._whole.encode_batch([encodable(text)], add_special_tokens=False)
            return self._offsets(text, encoding)
        lengths = np.fromiter(map(len, words), np.int32, len(words))
        # The blank before the first word is not in the text.
        begins = np.cumsum(lengths, dtype=np.int32) - lengths - 1
        spans = self._of(words, "spans")
        counts = np.fromiter(map(len, spans), np.int32, len(spans)) // SPAN_BYTES
        return np.frombuffer(b"".join(spans), np.int32).reshape(-1, 2) + np.repeat(begins, counts)[:, None]

    def _words(self, text: str) -> list[str] | None:
        """With the blanks before them; None for a text that has to be tokenised as a whole."""
        if any(token in text for token in self._apart):
            return None
        return WORD.findall(f" {encodable(text)}") if text else []  # With the blank that SentencePiece adds.

    def _of(self, words: Sequence[str], what: Literal["ids", "spans"]) -> list[bytes]:
        """What is known of each."""
        try:
            return list(map(getattr(self._known, what).__getitem__, words))
        except KeyError:
            return list(map(getattr(self._learnt(words), what).__getitem__, words))

    def _learnt(self, words: Sequence[str]) -> _Known:
        """What knows all of these, some of which are new."""
        if len(self._known.spans) > WORDS_KEPT:
            self._known = _Known({}, {})  # Whoever has the other in hand goes on with it.
        known = self._known
        new = {word: self._tokenised(word) for word in set(words).difference(known.spans)}
        for word, tokens in new.items():
            if len(word) <= LONGEST_KEPT:
                known.ids[word], known.spans[word] = tokens
        if all(len(word) <= LONGEST_KEPT for word in new):
            return known
        own = _Known({}, {})
        for word in words:
            own.ids[word], own.spans[word] = new.get(word) or (known.ids[word], known.spans[word])
        return own

    def _tokenised(self, word: str) -> tuple[bytes, bytes]:
        """Its ids and spans."""
        if len(word) <= LONGEST_KEPT:  # A batch wakes threads for it, which takes twice as long.
            encoding = self._single.encode(word, add_special_tokens=False)
        else:  # `encode` keeps the interpreter to itself, so that no request is answered.
            (encoding,) = self._single.encode_batch([word], add_special_tokens=False)
        return np.array(encoding.ids, np.int32).tobytes(), self._offsets(word, encoding).tobytes()

    def _offsets(self, text: str, encoding: Encoding) -> NDArray[np.int32]:
        return offsets_of(list(self._spans(text, encoding)))


def _special(tokenizer: Tokenizer) -> list[str]:
    """What it does not split, wherever it stands."""
    return [token.content for token in tokenizer.get_added_tokens_decoder().values()]


def _as_told(text: str, encoding: Encoding) -> Iterable[tuple[int, int]]:
    del text
    return encoding.offsets


def _without_blanks(text: str, encoding: Encoding) -> Iterator[tuple[int, int]]:
    """Those of SentencePiece, without the white space that tokens begin with; none of nothing else."""
    for token, (start, end) in zip(encoding.tokens, encoding.offsets, strict=True):
        # By the token: the span of the blank before a text is that of the character behind it.
        length = len(text[start:end].lstrip()) if token.strip(BLANK) else 0
        if length:
            yield end - length, end
