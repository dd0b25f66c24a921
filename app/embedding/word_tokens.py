"""The tokens of a text out of those of its words, of which most were seen before."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

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
#: So many words are kept, and those of one more text, at 300 to 700 bytes each; then all are forgotten, and
#: the usual ones soon are back.
WORDS_KEPT = 32_768

#: Two int32.
SPAN_BYTES = 8


class _Known(NamedTuple):
    """The tokens of words, as bytes: those of many words are put together faster than numbers.

    A token that is nothing but white space has an id and no span.
    """

    ids: dict[str, bytes]  # Of an int32 each.
    spans: dict[str, bytes]  # Where each begins and ends in the word, leading blanks left out.


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
        self._known = _Known({}, {})

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
            return offsets_of(list(_spans_of(text, encoding)))
        lengths = np.fromiter(map(len, words), np.int32, len(words))
        # The blank before the first word is not in the text.
        begins = np.cumsum(lengths, dtype=np.int32) - lengths - 1
        spans = self._of(words, "spans")
        counts = np.fromiter(map(len, spans), np.int32, len(spans)) // SPAN_BYTES
        return np.frombuffer(b"".join(spans), np.int32).reshape(-1, 2) + np.repeat(begins, counts)[:, None]

    def _words(self, text: str) -> list[str] | None:
        """With the blanks before them; None for a text that has to be tokenised as a whole."""
        if BLANK in text or any(token in text for token in self._special):
            return None
        return WORD.findall(f" {encodable(text)}") if text else []  # With the blank that its normaliser adds.

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
        normalised = word.replace(" ", BLANK)
        if len(word) <= LONGEST_KEPT:  # A batch wakes threads for it, which takes twice as long.
            encoding = self._single.encode(normalised, add_special_tokens=False)
        else:  # `encode` keeps the interpreter to itself, so that no request is answered.
            (encoding,) = self._single.encode_batch([normalised], add_special_tokens=False)
        spans = offsets_of(list(_spans_of(word, encoding)))
        return np.array(encoding.ids, np.int32).tobytes(), spans.tobytes()


def _spans_of(text: str, encoding: Encoding) -> Iterator[tuple[int, int]]:
    """Of its tokens, without the white space that they begin with; nothing of those that are nothing else."""
    for token, (start, end) in zip(encoding.tokens, encoding.offsets, strict=True):
        # By the token: the span of the blank before a text is that of the character behind it.
        length = len(text[start:end].lstrip()) if token.strip(BLANK) else 0
        if length:
            yield end - length, end
