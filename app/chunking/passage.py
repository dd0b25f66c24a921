"""What a document is cut into."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Passage:
    """`text` is the parsed text's `[char_start:char_end]`, without white space around it."""

    text: str
    char_start: int
    char_end: int
    page: int | None  # Where it begins; None in formats without pages.
    headings: tuple[str, ...]  # In force where it begins, outermost first.
    token_count: int  # Of `text` by itself, by the embedder's tokenizer, special tokens not counted.
