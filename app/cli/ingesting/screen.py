"""What is shown while files are on their way: a live view on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from app.cli.ingesting.tally import Tally, Waiting
from app.cli.remote.output import STAGES, Output, clean
from app.core import wording

#: So that everything fits into 80 columns.
BAR_COLUMNS = 12
LINE_EVERY_S = 5.0


@contextmanager
def shown(tally: Tally, out: Output, *, waits: bool) -> Iterator[None]:
    """Inside the block, the tally is shown as it changes, on standard error."""
    if out.notes.is_terminal:
        with Live(
            console=out.notes,
            get_renderable=lambda: view(tally, waits=waits),
            refresh_per_second=8,
            transient=True,
        ):
            yield
        return
    lines = asyncio.create_task(_tell_now_and_then(tally, out, waits=waits))
    try:
        yield
    finally:
        lines.cancel()


async def _tell_now_and_then(tally: Tally, out: Output, *, waits: bool) -> None:
    while True:
        await asyncio.sleep(LINE_EVERY_S)
        out.note(line(tally, waits=waits))


def line(tally: Tally, *, waits: bool) -> str:
    """The same as `view`, for a log."""
    if tally.sending_at is None:
        return f"compared {tally.compared:,} of {wording.count(tally.total, 'file')}"
    said = f"sent {tally.sent:,} of {tally.to_send:,} ({wording.size(tally.moved_bytes)})"
    if waits:
        said += f", done {tally.done:,} of {tally.to_follow:,}"
    said = f"{said}, {tally.failed:,} failed"
    return f"{said}; {waiting(tally.waiting)}" if tally.waiting else said


def waiting(documents: Waiting) -> str:
    """When something will happen, and why nothing does until then."""
    at = documents.next_try_at.astimezone().strftime("%H:%M:%S")
    why = f": {clean(documents.why)}" if documents.why else ""
    if documents.number == 1:
        return f"1 waits for its next try at {at}{why}"
    return f"{documents.number:,} wait for their next try, the first at {at}{why}"


def view(tally: Tally, *, waits: bool) -> RenderableType:
    """A bar for each half of the way, and under them why it does not get on, if that is so."""
    bars = _bars(tally, waits=waits)
    if tally.waiting is None:
        return bars
    return Group(bars, Text(f" {waiting(tally.waiting)}", style="yellow", no_wrap=True, overflow="ellipsis"))


def _bars(tally: Tally, *, waits: bool) -> Table:
    """With numbers, rate and the time that is left."""
    grid = Table.grid(padding=(0, 1))
    for _ in range(4):
        grid.add_column(no_wrap=True)
    if tally.sending_at is None:
        grid.add_row("Comparing", _bar(tally.compared, tally.total), _of(tally.compared, tally.total), "")
        return grid
    sending = f"{wording.size(tally.moved_bytes)} of {wording.size(tally.to_send_bytes)}"
    rate = f"{wording.size(round(tally.bytes_per_s))}/s" if tally.sent < tally.to_send else None
    grid.add_row(
        "Sending",
        _bar(tally.moved_bytes, tally.to_send_bytes),
        _of(tally.sent, tally.to_send),
        _dotted(sending, rate, _clock(tally.sending_left_s)),
    )
    if waits:
        expected = tally.to_follow + tally.to_send - tally.sent
        failed = Text(f"{tally.failed:,} failed", style="red") if tally.failed else None
        grid.add_row(
            "Indexing",
            _bar(tally.done, expected),
            _of(tally.done, expected),
            _dotted(f"{tally.done_per_s:.1f}/s", failed, _clock(tally.following_left_s)),
        )
        grid.add_row("", "", "", _stages(tally))
    return grid


def _bar(done: int, total: int) -> ProgressBar:
    return ProgressBar(total=max(total, 1), completed=done if total else 1, width=BAR_COLUMNS)


def _of(done: int, total: int) -> str:
    return f"{done:,} of {total:,}"


def _dotted(*parts: str | Text | None) -> Text:
    """Those that there are."""
    return Text(" · ").join(Text(part) if isinstance(part, str) else part for part in parts if part)


def _clock(seconds: float | None) -> str | None:
    """`1:05` left."""
    if seconds is None or seconds < 1:
        return None
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02} left" if hours else f"{minutes}:{rest:02} left"


def _stages(tally: Tally) -> Text:
    told = (f"{stage} {tally.stages[stage]}" for stage in STAGES if tally.stages[stage])
    return Text(" · ").join(Text(each, style="dim") for each in told)
