"""What a document is cut into."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Passage:
    """`text` is the parsed text's `[char_start:char_end]`, without white space around it."""

    whole: str = field(repr=False)  # The parsed text: all passages refer to one, and none has a copy.
    char_start: int
    char_end: int
    page: int | None  # Where it begins; None in formats without pages.
    page_end: int | None  # Where it ends: that of its last character.
    headings: tuple[str, ...]  # In force where it begins, outermost first; with the header of a table.
    token_count: int  # Of `text` by itself, by the embedder's tokenizer, special tokens not counted.

    @property
    def text(self) -> str:
        """Cut out anew each time."""
        return self.whole[self.char_start : self.char_end]
