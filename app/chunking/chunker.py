"""Cuts a document into passages that fit the embedder, at the best places there are."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from app.chunking.breaks import Breaks
from app.chunking.passage import Passage
from app.chunking.tokens import TokenOffsets, Tokens
from app.parsing.parsed_document import Heading, ParsedDocument

#: A "word" that a model takes for one unknown token may be a megabyte of base64. No passage is longer than
#: this, for each token that it may have.
MAX_CHARS_PER_TOKEN = 32


class _Cut(NamedTuple):
    end: int
    is_hard: bool = False  # In the middle of a word, for want of a better place.
    is_heading: bool = False


class Chunker:
    """Packs text by the model's own tokens.

    A passage ends at the last paragraph, else sentence, else word that fits, and is at least half full, so
    that no cut is made for the sake of a short paragraph. A heading begins a new passage as soon as the
    present one is half full: short sections share one, long ones begin where they should. Neighbours
    overlap, except across such a heading, by whole sentences, else whole words.

    Args of the constructor:
        token_offsets: The embedder's tokenizer (`Embedder.token_offsets`).
        chunk_tokens: What a passage may have at most.
        overlap_tokens: What it shares with the one before at most; up to half of `chunk_tokens`.
        max_tokens: What the model takes; wins over `chunk_tokens`.
    """

    def __init__(
        self, token_offsets: TokenOffsets, *, chunk_tokens: int, overlap_tokens: int, max_tokens: int
    ) -> None:
        self._token_offsets = token_offsets
        self._limit = min(chunk_tokens, max_tokens)
        self._overlap = min(overlap_tokens, self._limit // 2)

    def split(self, parsed: ParsedDocument) -> list[Passage]:
        """The passages of a document, in order; together they hold all of its text but white space."""
        return list(_Splitter(parsed, self._token_offsets, self._limit, self._overlap).passages())


class _Splitter:
    """The work on one document."""

    def __init__(self, parsed: ParsedDocument, token_offsets: TokenOffsets, limit: int, overlap: int) -> None:
        self.text = parsed.text
        self.limit = limit
        self.overlap = overlap
        self.token_offsets = token_offsets
        self.tokens = Tokens(parsed.text, token_offsets)
        self.breaks = Breaks(parsed.text, (heading.char_start for heading in parsed.headings))
        self.page_starts = [page.char_start for page in parsed.pages]
        self.page_numbers = [page.number for page in parsed.pages]
        self.heading_starts = [heading.char_start for heading in parsed.headings]
        self.heading_paths = _paths(parsed.headings)

    def passages(self) -> list[Passage]:
        found: list[Passage] = []
        start, done, is_hard = self._skip_space(0), 0, False
        while start < len(self.text):
            cut = self._cut(start, done, starts_hard=is_hard)
            if cut is None:  # The overlap left no room for anything new.
                start, is_hard = self._skip_space(done), True
                continue
            found.append(self._passage(start, cut.end))
            done = cut.end
            start, is_hard = self._next_start(start, cut)
        return found

    def _cut(self, start: int, done: int, *, starts_hard: bool) -> _Cut | None:
        """Where the passage from `start` ends: behind `done`, so that there is something new in it."""
        first = self.tokens.first_after(start)
        high = min(
            self.tokens.start_of(first + self.limit, len(self.text)),
            start + self.limit * MAX_CHARS_PER_TOKEN,
            len(self.text),
        )
        half = max(self.tokens.start_of(first + self.limit // 2, high), done + 1, start + 1)
        cut = self._best_cut(half, high) or self._fallback_cut(max(start, done) + 1, high)
        if cut is None:
            cut = _Cut(self.breaks.whole_character(high, max(start, done)), is_hard=True)
        if starts_hard or cut.is_hard:
            cut = self._shrunk(start, cut)
        return cut if cut.end > done else None

    def _best_cut(self, half: int, high: int) -> _Cut | None:
        heading = self.breaks.first_heading(half, high)
        if heading is not None and heading < len(self.text):
            return _Cut(heading, is_heading=True)
        if high == len(self.text):
            return _Cut(high)
        end = self.breaks.best_end(half, high)
        return None if end is None else _Cut(end)

    def _fallback_cut(self, low: int, high: int) -> _Cut | None:
        """Less than half full is better than inside a word."""
        end = self.breaks.best_end(low, high)
        return None if end is None else _Cut(end)

    def _shrunk(self, start: int, cut: _Cut) -> _Cut:
        """Cut off what is over the limit: a part of a word may have more tokens than it had in the whole."""
        end, is_hard = cut.end, cut.is_hard
        while end - start > 1 and (count := len(self.token_offsets(self.text[start:end]))) > self.limit:
            shorter = start + max(1, (end - start) * self.limit // (count + 1))
            end, is_hard = self.breaks.whole_character(min(shorter, end - 1), start), True
        return cut if end == cut.end else _Cut(end, is_hard)

    def _next_start(self, start: int, cut: _Cut) -> tuple[int, bool]:
        if cut.end >= len(self.text):
            return len(self.text), False
        if not cut.is_heading and self.overlap:
            back = self.tokens.first_from(cut.end) - self.overlap
            low = max(self.tokens.start_of(max(back, 0), cut.end), start + 1)
            overlapping = self.breaks.best_start(low, cut.end) if low < cut.end else None
            if overlapping is not None:
                return self._skip_space(overlapping), False
        return self._skip_space(cut.end), cut.is_hard

    def _passage(self, start: int, end: int) -> Passage:
        text = self.text[start:end].rstrip()
        end = start + len(text)
        return Passage(
            text=text,
            char_start=start,
            char_end=end,
            page=self._page_at(start),
            headings=self._headings_at(start),
            token_count=self.tokens.first_from(end) - self.tokens.first_after(start),
        )

    def _page_at(self, position: int) -> int | None:
        if not self.page_starts:
            return None
        return self.page_numbers[max(bisect_right(self.page_starts, position) - 1, 0)]

    def _headings_at(self, position: int) -> tuple[str, ...]:
        at = bisect_right(self.heading_starts, position) - 1
        return self.heading_paths[at] if at >= 0 else ()

    def _skip_space(self, position: int) -> int:
        while position < len(self.text) and self.text[position].isspace():
            position += 1
        return position


def _paths(headings: Sequence[Heading]) -> list[tuple[str, ...]]:
    """For each heading, the titles from the outermost down to it."""
    paths: list[tuple[str, ...]] = []
    open_headings: list[Heading] = []
    for heading in headings:
        while open_headings and open_headings[-1].level >= heading.level:
            open_headings.pop()
        open_headings.append(heading)
        paths.append(tuple(each.title for each in open_headings))
    return paths
