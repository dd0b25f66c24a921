"""Cuts a document into passages that fit the embedder, at the best places there are."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from app.chunking.breaks import Breaks
from app.chunking.passage import Passage
from app.chunking.tokens import TokenOffsets, Tokens
from app.errors import TooManyChunks
from app.parsing.parsed_document import Heading, ParsedDocument

#: A "word" that a model takes for one unknown token may be a megabyte of base64. No passage is longer than
#: this, for each token that it may have.
MAX_CHARS_PER_TOKEN = 32


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
        max_chunks: Of one document.
    """

    def __init__(
        self,
        token_offsets: TokenOffsets,
        *,
        chunk_tokens: int,
        overlap_tokens: int,
        max_tokens: int,
        max_chunks: int | None = None,
    ) -> None:
        self._token_offsets = token_offsets
        self._chunk_tokens = chunk_tokens
        self._overlap_tokens = overlap_tokens
        self._max_tokens = max_tokens
        self._limit = min(chunk_tokens, max_tokens)
        self._overlap = min(overlap_tokens, self._limit // 2)
        self._max_chunks = max_chunks

    def resized(self, chunk_tokens: int | None, overlap_tokens: int | None) -> Chunker:
        """One with other sizes, where they are given."""
        return Chunker(
            self._token_offsets,
            chunk_tokens=self._chunk_tokens if chunk_tokens is None else chunk_tokens,
            overlap_tokens=self._overlap_tokens if overlap_tokens is None else overlap_tokens,
            max_tokens=self._max_tokens,
            max_chunks=self._max_chunks,
        )

    def split(self, parsed: ParsedDocument) -> list[Passage]:
        """The passages of a document, in order; together they hold all of its text but white space.

        Raises:
            TooManyChunks: There are more than `max_chunks`; it stops at the first one too many.
        """
        passages: list[Passage] = []
        for passage in _Splitter(parsed, self._token_offsets, self._limit, self._overlap).passages():
            if len(passages) == self._max_chunks:
                raise TooManyChunks(self._max_chunks)
            passages.append(passage)
        return passages


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
        self.tables = parsed.tables
        self.table_starts = [table.char_start for table in parsed.tables]

    def passages(self) -> Iterator[Passage]:
        """In order, each with something new in it."""
        start = done = self._skip_space(0)
        while done < len(self.text):
            self.tokens.forget(self.tokens.first_after(start) - self.overlap)
            end = self._fitted(start, done, self._end(start, done))
            if end > done:
                yield self._passage(start, end)
                done = self._skip_space(end)
                start = self._next_start(start, end, done)
            else:  # The overlap left no room for anything new.
                start = done

    def _end(self, start: int, done: int) -> int:
        """Where the passage from `start` should end: behind `done`, if there is room."""
        first = self.tokens.first_after(start)
        high = min(
            self.tokens.start_of(first + self.limit, len(self.text)),
            start + self.limit * MAX_CHARS_PER_TOKEN,
            len(self.text),
        )
        half = self.tokens.start_of(first + self.limit // 2, high)
        # A long word or gap may have no token in it that could mark the half.
        return self._best_end(done, half if half < high else (start + high) // 2, high)

    def _best_end(self, done: int, half: int, high: int) -> int:
        """The best place in `[half, high]`, else the best before it, else one in the middle of a word."""
        low = max(half, done + 1)
        heading = self.breaks.first_heading(low, high)
        if heading is not None:
            return heading
        if high == len(self.text):
            return high
        end = self.breaks.best_end(low, high) or self.breaks.best_end(done + 1, high)
        return end or self.breaks.whole_character(high, done)

    def _fitted(self, start: int, done: int, end: int) -> int:
        """Move `end` back until the passage has no more tokens than it may, by itself.

        Only what begins or ends inside a word needs it, or lies on a seam: the part of a word may have more
        tokens than the whole, which for MiniLM is a single unknown one from 101 letters on.
        """
        while end - start > 1 and not self._is_exact(start, end):
            count = len(self.token_offsets(self.text[start:end]))
            if count <= self.limit:
                break
            high = min(start + max(1, (end - start) * self.limit // count), end - 1)
            end = self._best_end(max(start, done), (start + high) // 2, high)
        return end

    def _is_exact(self, start: int, end: int) -> bool:
        """Whether the tokens of the passage are those which the text has there."""
        return (
            self.breaks.is_soft(start) and self.breaks.is_soft(end) and not self.tokens.has_seam(start, end)
        )

    def _next_start(self, start: int, end: int, done: int) -> int:
        """Where the passage after `[start, end)` begins: at `done`, or before it for the overlap's sake."""
        if self.overlap == 0 or self.breaks.first_heading(end, end) is not None:
            return done
        back = max(self.tokens.first_from(end) - self.overlap, 0)
        # Not by tokens alone: where a word of a thousand letters is one of them, each passage would begin a
        # letter after the one before.
        low = max(self.tokens.start_of(back, end), (start + end + 1) // 2)
        overlapping = self.breaks.best_start(low, end) if low < end else None
        return done if overlapping is None else min(self._skip_space(overlapping), done)

    def _passage(self, start: int, end: int) -> Passage:
        end = start + len(self.text[start:end].rstrip())
        return Passage(
            whole=self.text,
            char_start=start,
            char_end=end,
            page=self._page_at(start),
            page_end=self._page_at(end - 1),
            headings=self._headings_at(start),
            token_count=self._token_count(start, end),
        )

    def _token_count(self, start: int, end: int) -> int:
        if self._is_exact(start, end):
            return self.tokens.first_from(end) - self.tokens.first_after(start)
        return len(self.token_offsets(self.text[start:end]))

    def _page_at(self, position: int) -> int | None:
        if not self.page_starts:
            return None
        return self.page_numbers[max(bisect_right(self.page_starts, position) - 1, 0)]

    def _headings_at(self, position: int) -> tuple[str, ...]:
        at = bisect_right(self.heading_starts, position) - 1
        headings = self.heading_paths[at] if at >= 0 else ()
        at = bisect_right(self.table_starts, position) - 1
        if at >= 0 and position < self.tables[at].char_end:
            return (*headings, self.tables[at].header)  # What its rows are about stands in another passage.
        return headings

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
