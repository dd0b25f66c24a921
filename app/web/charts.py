"""Where the lines of the plots are; the templates draw them as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from app.models.attempt import Attempt
from app.models.document_status import Stage
from app.models.figures import Minute

PLOT_WIDTH, PLOT_HEIGHT = 720, 160
BAR_GAP = 2

STAGES = (Stage.PARSING, Stage.CHUNKING, Stage.EMBEDDING, Stage.STORING)


@dataclass(frozen=True, slots=True)
class Bar:
    """A minute: a column of what was completed, with what failed on top of it."""

    x: float
    width: float
    completed_y: float
    completed_height: float
    failed_y: float
    failed_height: float
    minute: Minute


@dataclass(frozen=True, slots=True)
class Plot:
    """Throughput, ready to be drawn."""

    bars: Sequence[Bar]
    top: int  # What the upper edge stands for.
    completed: int  # In all.
    failed: int
    busiest: int  # In one minute.

    @property
    def levels(self) -> list[int]:
        """What its three lines stand for, from above."""
        return [self.top, self.top // 2, 0]


def throughput(minutes: Sequence[Minute]) -> Plot:
    """A column for each minute, and a round number above the highest."""
    busiest = max((each.completed + each.failed for each in minutes), default=0)
    top = round_up(busiest)
    step = PLOT_WIDTH / max(len(minutes), 1)
    bars = []
    for number, each in enumerate(minutes):
        completed = PLOT_HEIGHT * each.completed / top
        failed = PLOT_HEIGHT * each.failed / top
        bars.append(
            Bar(
                x=round(number * step + BAR_GAP / 2, 2),
                width=round(step - BAR_GAP, 2),
                completed_y=round(PLOT_HEIGHT - completed, 2),
                completed_height=round(completed, 2),
                failed_y=round(PLOT_HEIGHT - completed - failed, 2),
                failed_height=round(failed, 2),
                minute=each,
            )
        )
    return Plot(
        bars,
        top,
        completed=sum(each.completed for each in minutes),
        failed=sum(each.failed for each in minutes),
        busiest=busiest,
    )


def round_up(number: int) -> int:
    """The next of 2, 4, 10, 20, 40, 100, …: halves are whole."""
    scale = 1
    while True:
        for step in (2, 4, 10):
            if step * scale >= number:
                return step * scale
        scale *= 10


@dataclass(frozen=True, slots=True)
class StageBar:
    """A stage of an attempt: percent of the width that the longest attempt has."""

    stage: str
    x: float
    width: float
    seconds: float


def stages_of(attempts: Sequence[Attempt]) -> Mapping[int, Sequence[StageBar]]:
    """By the attempts' numbers; all on one scale, so that they can be compared."""
    longest = max((sum(each.stage_seconds.values()) for each in attempts), default=0.0)
    return {each.attempt: _bars(each.stage_seconds, longest) for each in attempts}


def _bars(seconds: Mapping[str, float], longest: float) -> list[StageBar]:
    if not longest:
        return []
    known = [(stage.value, seconds[stage.value]) for stage in STAGES if stage.value in seconds]
    ends = [0.0]
    for _, took in known:
        ends.append(ends[-1] + took)
    return [
        StageBar(stage, round(100 * begin / longest, 3), round(100 * (end - begin) / longest, 3), took)
        for (stage, took), (begin, end) in zip(known, pairwise(ends), strict=True)
    ]
