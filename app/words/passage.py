"""The words of passages as the database keeps them: a `tsvector`, and BM25's weights as a `sparsevec`."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.words.lexicon import Lexicon
from app.words.slots import SLOT_BITS, SLOTS

#: BM25's: how soon more of a word brings less, and how much it counts that a passage is long.
K1 = 1.5
B = 0.75

#: What a `tsvector` keeps of places: none behind this one, and of one lexeme no more than so many.
LAST_PLACE = 16_383
MOST_PLACES = 255

#: A `sparsevec` has no more; of a passage of more lexemes, some are found and not weighed.
MOST_WEIGHTS = 16_000

#: Of them, of slots and of lexemes, the numbers fit into one of 63 bits.
MOST_PASSAGES = 512
_LEXEME_BITS = 25


class Passage(NamedTuple):
    """What is to be found, and where."""

    keys: Sequence[str]  # All that it says, in its order.
    mark: str  # A lexeme beside its words, without a place or a weight.
    average_length: float  # Of passages like it, in words.


class PassageWords(NamedTuple):
    """A passage's, in the binary formats of both types."""

    length: int  # In words.
    tsvector: bytes
    sparsevec: bytes


class _Counted(NamedTuple):
    """Lexemes of passages, in the order of these and then of the slots, and how often each is there."""

    passages: NDArray[np.int64]  # (n,)
    slots: NDArray[np.int64]  # (n,)
    lexemes: NDArray[np.int64]  # (n,)
    times: NDArray[np.int64]  # (n,)
    places: NDArray[np.int64]  # (sum of times,), those of one behind those of the one before.


def passage_words(passages: Sequence[Passage], lexicon: Lexicon) -> list[PassageWords]:
    """The words of at most `MOST_PASSAGES`, whose keys the lexicon knows."""
    counted = _counted(passages, lexicon)
    lengths = np.bincount(counted.passages, counted.times, minlength=len(passages)).astype(np.int64)
    bounds = counted.passages.searchsorted(np.arange(len(passages) + 1)).tolist()
    written = _written(counted, lexicon)
    tsvectors = [
        struct.pack("!i", 1 + end - begin) + _unplaced(passage.mark) + b"".join(written[begin:end])
        for passage, (begin, end) in zip(passages, pairwise(bounds), strict=True)
    ]
    sparsevecs = _sparsevecs(passages, counted, lengths)
    return [PassageWords(*words) for words in zip(lengths.tolist(), tsvectors, sparsevecs, strict=True)]


def _counted(passages: Sequence[Passage], lexicon: Lexicon) -> _Counted:
    ends = np.fromiter((len(passage.keys) for passage in passages), np.int64, len(passages)).cumsum()
    found = lexicon.occurrences(list(chain.from_iterable(passage.keys for passage in passages)))
    of = ends.searchsorted(found.keys, side="right")
    places = found.places - found.begins[np.append(0, ends)][of] + 1
    # One number to sort by. Places stay in their order.
    said = (((of << SLOT_BITS) | lexicon.slots[found.lexemes]) << _LEXEME_BITS) | found.lexemes
    order = said.argsort(kind="stable")
    said, places = said[order], places[order].clip(max=LAST_PLACE)
    is_new = _differs(said)
    if places.max(initial=0) == LAST_PLACE:
        kept = is_new | _differs(places)  # A lexeme is in no place twice.
        said, places, is_new = said[kept], places[kept], is_new[kept]
    (begins,) = is_new.nonzero()
    times = np.append(begins, len(said))[1:] - begins
    if times.max(initial=0) > MOST_PLACES:
        places = places[np.arange(len(said)) - begins.repeat(times) < MOST_PLACES]
        times = times.clip(max=MOST_PLACES)
    each = said[begins]
    slots, lexemes = (each >> _LEXEME_BITS) % SLOTS, each & ((1 << _LEXEME_BITS) - 1)
    return _Counted(each >> (SLOT_BITS + _LEXEME_BITS), slots, lexemes, times, places)


def _differs(numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each is another one than the one before."""
    differs = np.ones(len(numbers), np.bool_)
    np.not_equal(numbers[1:], numbers[:-1], out=differs[1:])
    return differs


def _written(counted: _Counted, lexicon: Lexicon) -> list[bytes]:
    """Each lexeme with its places, as a `tsvector` has them: a NUL, their number, and them."""
    ends = (counted.times + 1).cumsum()
    begins = ends - counted.times - 1
    numbers = np.empty(len(counted.places) + len(counted.times), ">u2")
    is_place = np.ones(len(numbers), np.bool_)
    is_place[begins] = False
    numbers[begins] = counted.times
    numbers[is_place] = counted.places
    places = numbers.tobytes()
    heads = map(lexicon.heads.__getitem__, counted.lexemes.tolist())
    spans = zip((begins * 2).tolist(), (ends * 2).tolist(), strict=True)
    return [head + places[begin:end] for head, (begin, end) in zip(heads, spans, strict=True)]


def _unplaced(lexeme: str) -> bytes:
    return lexeme.encode() + b"\0\0\0"


def _sparsevecs(passages: Sequence[Passage], counted: _Counted, lengths: NDArray[np.int64]) -> list[bytes]:
    of, slots, times = counted.passages, counted.slots, counted.times
    averages = np.fromiter((passage.average_length for passage in passages), np.float64, len(passages))
    weights = times * (K1 + 1) / (times + (K1 * (1 - B + B * lengths / averages))[of])
    begins = (_differs(of) | _differs(slots)).nonzero()[0]
    if len(begins) < len(slots):  # Two lexemes in one slot, which has the weight of the larger one.
        of, slots, weights = of[begins], slots[begins], np.maximum.reduceat(weights, begins)
    indices, values = slots.astype(">i4").tobytes(), weights.astype(">f4").tobytes()
    bounds = of.searchsorted(np.arange(len(passages) + 1)).tolist()
    return [
        struct.pack("!iii", SLOTS, end - begin, 0)
        + indices[4 * begin : 4 * end]
        + values[4 * begin : 4 * end]
        for begin, end in ((begin, min(end, begin + MOST_WEIGHTS)) for begin, end in pairwise(bounds))
    ]
