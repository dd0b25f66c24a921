"""Values as people read them: on the pages and on the command line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

UNITS = ("bytes", "KB", "MB", "GB", "TB", "PB")

#: Characters of a heading that are shown.
LONGEST_TITLE = 120

#: Characters of a hit that are shown, as many as one reads at a glance.
EXCERPT = 420


def size(count: int) -> str:
    """`48213` → `47 KB`, by 1024, as the settings count."""
    amount, unit = float(count), 0
    while amount >= 1023.5 and unit < len(UNITS) - 1:
        amount, unit = amount / 1024, unit + 1
    if unit == 0:
        return "1 byte" if count == 1 else f"{count} bytes"
    return f"{amount:.1f} {UNITS[unit]}" if amount < 9.95 else f"{amount:.0f} {UNITS[unit]}"


def duration(seconds: float) -> str:
    """`0.034` → `34 ms`, `75` → `1 min 15 s`."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} days"


def count(number: int, one: str, many: str | None = None) -> str:
    """`1`, `chunk` → `1 chunk`; `1200` → `1,200 chunks`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def pages(first: int, last: int | None) -> str:
    """`2`, `2` → `page 2`; `2`, `3` → `pages 2–3`."""
    return f"page {first}" if last in (None, first) else f"pages {first}–{last}"


def trail(titles: Sequence[str]) -> str:
    """`Book`, `Gate` → `Book › Gate`; of long titles, as headers of wide tables are, the beginning."""
    most = LONGEST_TITLE
    return " › ".join(each if len(each) <= most else f"{each[: most - 1].rstrip()}…" for each in titles)


class Span(Protocol):
    """A word of the question: characters `[start:end]`."""

    @property
    def start(self) -> int: ...

    @property
    def end(self) -> int: ...


class Found(Protocol):
    """A hit, of the service or of the client."""

    @property
    def text(self) -> str: ...

    @property
    def highlights(self) -> Sequence[Span]: ...


def excerpt(hit: Found, *, length: int = EXCERPT) -> Iterator[tuple[str, bool]]:
    """The part of a hit's text with most of the question's words, as (text, is one of them)."""
    begin = _densest(hit, length)
    end = min(begin + length, len(hit.text))
    if end < len(hit.text):
        end = max(hit.text.rfind(" ", begin, end), begin + length // 2)
    reached = begin
    yield ("… " if begin else ""), False
    for span in hit.highlights:
        if begin <= span.start and span.end <= end:
            yield hit.text[reached : span.start], False
            yield hit.text[span.start : span.end], True
            reached = span.end
    yield hit.text[reached:end] + (" …" if end < len(hit.text) else ""), False


def _densest(hit: Found, length: int) -> int:
    """Where an excerpt begins that has as many of the words as any: some words before the first."""
    starts = [span.start for span in hit.highlights]
    if len(hit.text) <= length or not starts:
        return 0
    within = length * 3 // 4
    best = max(starts, key=lambda first: (sum(0 <= start - first < within for start in starts), -first))
    wished = max(best - length // 6, 0)
    return hit.text.find(" ", wished, best) + 1 if wished else 0
