"""The tokens of a text out of those of its words, of which most were seen before."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from app.embedding.protocol import offsets_of
from app.embedding.surrogates import encodable

#: What stands for a blank in the vocabulary.
BLANK = "\u2581"
#: A word with the blanks before it; blanks and line feeds that have no word behind them.
WORD = re.compile(r" *[^ \n]+| +|\n+")

#: A longer word is not kept: it hardly comes again.
LONGEST_KEPT = 48
#: So many words are kept, at 300 to 700 bytes each; then all are forgotten, and the usual ones soon are back.
WORDS_KEPT = 32_768


class _Tokens(NamedTuple):
    """Of one word, as bytes: those of many words are put together faster than numbers.

    A token that is nothing but white space has an id and no span.
    """

    ids: bytes  # Of an int32 each.
    spans: bytes  # Where each begins and ends in the word, leading blanks left out: two int32 each.
    span_count: int


#: Of `_Tokens`.
_ids, _spans, _span_count = map(itemgetter, range(3))


class WordTokens:
    """What a tokenizer makes of texts, several times as fast. Any number of threads may use it at once.

    The tokenizer is of SentencePiece's kind and merges pairs: it takes a text as one long word. No token of
    its vocabulary has a blank or a line feed behind anything else. So no merge reaches from one word into the
    next, and the tokens of a text are those of its words.

    Args of the constructor:
        tokenizer: With that normaliser and such a vocabulary.

    Raises:
        ValueError: It is another one.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        if any(not WORD.fullmatch(token.replace(BLANK, " ")) for token in tokenizer.get_vocab()):
            raise ValueError("This tokenizer has tokens that reach over the end of a word.")
        self._whole = tokenizer
        self._special = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
        self._single = Tokenizer.from_str(tokenizer.to_str())
        self._single.normalizer = None
        self._known: dict[str, _Tokens] = {}

    def ids(self, text: str) -> NDArray[np.int32]:
        """Of all tokens: (n,)."""
        words = self._words(text)
        if words is None:
            (encoding,) = self._whole.encode_batch_fast([encodable(text)], add_special_tokens=False)
            return np.array(encoding.ids, np.int32)
        return np.frombuffer(b"".join(map(_ids, self._tokens_of(words))), np.int32)

    def offsets(self, text: str) -> NDArray[np.int32]:
        """Where each begins and ends: (n, 2), leading white space left out, and so tokens of nothing else."""
        words = self._words(text)
        if words is None:
            # Not `encode`, which keeps the interpreter to itself, so that no request is answered.
            (encoding,) = self._whole.encode_batch([encodable(text)], add_special_tokens=False)
            return offsets_of(list(_spans_of(text, encoding)))
        tokens = self._tokens_of(words)
        lengths = np.fromiter(map(len, words), np.int32, len(words))
        # The blank before the first word is not in the text.
        begins = np.cumsum(lengths, dtype=np.int32) - lengths - 1
        counts = np.fromiter(map(_span_count, tokens), np.int32, len(words))
        spans = np.frombuffer(b"".join(map(_spans, tokens)), np.int32).reshape(-1, 2)
        return spans + np.repeat(begins, counts)[:, None]

    def _words(self, text: str) -> list[str] | None:
        """With the blanks before them; None for a text that has to be tokenised as a whole."""
        if BLANK in text or any(token in text for token in self._special):
            return None
        return WORD.findall(f" {encodable(text)}") if text else []  # With the blank that its normaliser adds.

    def _tokens_of(self, words: Sequence[str]) -> list[_Tokens]:
        known = self._known
        try:
            return list(map(known.__getitem__, words))
        except KeyError:  # Looked for in this way, as most texts of a long import have no new word.
            new = self._tokenised([word for word in set(words) if word not in known])
        self._keep({word: tokens for word, tokens in new.items() if len(word) <= LONGEST_KEPT})
        return [new[word] if word in new else known[word] for word in words]

    def _keep(self, new: Mapping[str, _Tokens]) -> None:
        if len(self._known) + len(new) > WORDS_KEPT:
            self._known = {}
        self._known.update(new)

    def _tokenised(self, words: Sequence[str]) -> dict[str, _Tokens]:
        normalised = [word.replace(" ", BLANK) for word in words]
        encodings = self._single.encode_batch(normalised, add_special_tokens=False)
        return {word: _tokens(word, encoding) for word, encoding in zip(words, encodings, strict=True)}


def _tokens(word: str, encoding: Encoding) -> _Tokens:
    spans = offsets_of(list(_spans_of(word, encoding)))
    return _Tokens(np.array(encoding.ids, np.int32).tobytes(), spans.tobytes(), len(spans))


def _spans_of(text: str, encoding: Encoding) -> Iterator[tuple[int, int]]:
    """Of its tokens, without the white space that they begin with; nothing of those that are nothing else."""
    for token, (start, end) in zip(encoding.tokens, encoding.offsets, strict=True):
        # By the token: the span of the blank before a text is that of the character behind it.
        length = len(text[start:end].lstrip()) if token.strip(BLANK) else 0
        if length:
            yield end - length, end
