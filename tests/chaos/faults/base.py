"""What a fault is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from typing import ClassVar

from tests.chaos.client import Client
from tests.chaos.rig import Rig, Scale
from tests.chaos.workload import Item

API = "app.main:app"
WORKER = "app.jobs.ingestion_job"
TAMPERED_API = "tests.chaos.tampered_api:app"
TAMPERED_WORKER = "tests.chaos.tampered_worker"

#: How much longer than usual a document may wait for a message that was lost.
EXTRA_S = 40


@dataclass(frozen=True, slots=True)
class Figure:
    """Something measured, beside what it has to be."""

    what: str
    wanted: str
    measured: str
    is_met: bool


def at_most(what: str, limit: float, measured: float, unit: str = "s") -> Figure:
    shown = "never" if measured == float("inf") else f"{measured:.3g} {unit}".rstrip()
    return Figure(what, f"≤ {limit:.3g} {unit}".rstrip(), shown, measured <= limit)


def at_least(what: str, limit: int, measured: int) -> Figure:
    return Figure(what, f"≥ {limit}", str(measured), measured >= limit)


def exactly(what: str, wanted: object, measured: object) -> Figure:
    return Figure(what, str(wanted), str(measured), measured == wanted)


@dataclass
class Run:
    """One fault at work: what it breaks, and what it notes for its figures."""

    rig: Rig
    client: Client
    scale: Scale
    golden_wait_s: float = 0.0  # The longest wait of a run without faults.
    say: Callable[[str], None] = lambda _: None
    notes: dict[str, list[float]] = field(default_factory=dict)
    posted: asyncio.Event = field(default_factory=asyncio.Event)  # All documents, that is.

    def note(self, name: str, *values: float) -> None:
        self.notes.setdefault(name, []).extend(values)

    def worst(self, name: str) -> float:
        return max(self.notes.get(name, []), default=0.0)

    async def pause(self, full_s: float) -> None:
        """How long a fault lasts, in seconds of the full run: the one thing here that is to take its time."""
        await asyncio.sleep(self.scale.seconds(full_s))


class Fault:
    """Breaks something while documents are posted.

    A subclass has a name, a sentence, `inject` and `figures`; the rest is for those that need it.
    """

    name: ClassVar[str]
    told: ClassVar[str]
    api: ClassVar[str] = API
    worker: ClassVar[str] = WORKER
    #: How many it needs, whatever the scale.
    workers_needed: ClassVar[int] = 1
    #: A control switches a mechanism off: the run has to find violations, or it would find none ever.
    is_control: ClassVar[bool] = False

    def environment(self, scale: Scale) -> dict[str, str]:
        """Settings beside those of the scale."""
        return {}

    def documents(self, scale: Scale) -> int:
        """How many of the workload."""
        return scale.documents

    def patience_s(self, scale: Scale) -> float:
        """With no move for so long, what is not final is stuck: no wait for a message is longer than 60 s."""
        return 130

    def items(self, scale: Scale) -> Sequence[Item]:
        """Documents beside the workload."""
        return ()

    def proxy(self) -> AbstractAsyncContextManager[Callable[[str], str] | None]:
        """Something between the programs and their database."""
        return nullcontext()

    async def inject(self, run: Run) -> None:
        """Do it; documents are being posted meanwhile, and go on to be when this returns early."""

    async def figures(self, run: Run) -> Sequence[Figure]:
        """Once everything is final, or stuck."""
        return ()
