"""A document's text, put together from its chunks so that one sees where each begins and what two share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.models.chunk import Chunk

#: Chunks that are shown on a page.
PAGE = 40


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk in its place. What it shares with the one before it stands there, and only there."""

    chunk: Chunk
    own: str
    shared_with_next: str
    is_new_page: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """A page of a document's chunks."""

    passages: Sequence[Passage]
    shared_before: str  # At the beginning: what the first passage shares with the one on the page before.
    first: int  # Its ordinal.
    total: int

    @property
    def last(self) -> int:
        return self.first + len(self.passages) - 1

    @property
    def before(self) -> int | None:
        """Where the page before this one begins; None when there is none."""
        return max(self.first - PAGE, 0) if self.first else None

    @property
    def after(self) -> int | None:
        """Likewise, the one after."""
        return self.last + 1 if self.last + 1 < self.total else None


async def read(document_id: object, version: int, *, ordinal: int, total: int) -> Reading:
    """The page that the chunk `ordinal` is on."""
    first = max(ordinal, 0) // PAGE * PAGE
    # With its neighbours on either side: what it shares with them is marked as well.
    chunks = await Chunk.filter(
        document_id=document_id, version=version, ordinal__gte=first - 1, ordinal__lte=first + PAGE
    ).order_by("ordinal")
    return laid_out(chunks, first=first, total=total)


def laid_out(chunks: Sequence[Chunk], *, first: int, total: int) -> Reading:
    """The chunks from `first` on for a page; those beside them only say what is shared."""
    passages: list[Passage] = []
    shared_before, reached, page = "", 0, None
    for chunk, following in zip(chunks, [*chunks[1:], None], strict=True):
        if chunk.ordinal < first:
            reached, page = chunk.char_end, chunk.page
            continue
        if chunk.ordinal >= first + PAGE:
            break
        if not passages:
            shared_before = chunk.text[: max(reached - chunk.char_start, 0)]
        begin = max(reached - chunk.char_start, 0)
        end = len(chunk.text)
        if following is not None:
            end = max(min(following.char_start - chunk.char_start, end), begin)
        passages.append(
            Passage(
                chunk, chunk.text[begin:end], chunk.text[end:], chunk.page != page and chunk.page is not None
            )
        )
        reached, page = max(reached, chunk.char_end), chunk.page
    return Reading(passages, shared_before, first, total)
