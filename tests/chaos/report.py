"""What came of a run, as a table for people and as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.chaos.faults.base import Figure
from tests.chaos.invariants import Violation
from tests.chaos.rig import Scale


@dataclass
class Outcome:
    """What one fault did."""

    fault: str
    told: str
    is_control: bool = False
    documents: int = 0
    seconds: float = 0.0
    figures: list[Figure] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not self.violations and all(figure.is_met for figure in self.figures)

    @property
    def is_as_wanted(self) -> bool:
        """A control has to be found out; everything else has to be clean."""
        if self.is_control:
            return bool(self.violations) and all(figure.is_met for figure in self.figures)
        return self.is_clean


def conditions(scale: Scale) -> str:
    """Under which the figures were measured."""
    return (
        f"{scale.documents} documents, some updated and some sent twice, over {scale.over_s:g} s;"
        f" {scale.workers} workers, each of one process with 8 threads,"
        f" EMBEDDER=hash, lease {scale.lease_s:g} s, beat {scale.beat_s:g} s, sweep {scale.sweep_s:g} s,"
        f" fsync {'on' if scale.fsync else 'off'}; {os.cpu_count()} cores, {platform.machine()},"
        f" Python {platform.python_version()}, load {os.getloadavg()[0]:.1f} at the start"
    )


def table(outcomes: Sequence[Outcome]) -> str:
    """A line for each figure."""
    lines = [_line("fault", "figure", "wanted", "measured", "verdict"), "-" * 112]
    for outcome in outcomes:
        wanted = "some" if outcome.is_control else "none"
        found = sum(violation.count for violation in outcome.violations)
        rows = [("violations", wanted, str(found), bool(found) == outcome.is_control)]
        rows += [(figure.what, figure.wanted, figure.measured, figure.is_met) for figure in outcome.figures]
        for number, (what, wish, measured, is_met) in enumerate(rows):
            name = outcome.fault if number == 0 else ""
            lines.append(_line(name, what, wish, measured, "ok" if is_met else "MISSED"))
        marker = "  found, as it should be: " if outcome.is_control else "  VIOLATED: "
        lines += [f"{marker}{violation}" for violation in outcome.violations]
        lines += [f"  note: {note}" for note in outcome.notes]
    return "\n".join(lines)


def _line(fault: str, figure: str, wanted: str, measured: str, verdict: str) -> str:
    return f"{fault:24}{figure:46}{wanted:>16}{measured:>16}  {verdict}"


def write_json(path: Path, scale: Scale, outcomes: Sequence[Outcome]) -> None:
    """Everything, for programs."""
    told = {
        "conditions": conditions(scale),
        "scale": asdict(scale),
        "outcomes": [
            asdict(outcome) | {"clean": outcome.is_clean, "as_wanted": outcome.is_as_wanted}
            for outcome in outcomes
        ],
    }
    path.write_text(json.dumps(told, indent=2, default=str) + "\n")
