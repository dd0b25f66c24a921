"""The world, driven by Hypothesis: it looks for an order of events that breaks a promise, and shortens it."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.model.world import World
from tests.support import emptied_database

NUMBERS = st.integers(0, 1000)
OFTEN = st.sampled_from([True, True, True, False])
RARELY = st.sampled_from([False, False, False, True])


class DocumentMachine(RuleBasedStateMachine):
    """One run: a few documents, and up to a few hundred events.

    The runner opens the database on `runner`'s loop, and gives a connection for the beats.
    """

    runner: ClassVar[asyncio.Runner]
    beats: ClassVar[Any]
    counts: ClassVar[Counter[str]] = Counter()

    @initialize()
    def begin(self) -> None:
        self.world = World(self.beats)
        self._run(emptied_database())
        for has_external_id in (True, True, False):
            self._run(self.world.accept(has_external_id=has_external_id, is_sent=True))

    # --- people ---------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.world.known) < MOST_DOCUMENTS)
    @rule(has_external_id=OFTEN, is_sent=OFTEN)
    def accept(self, has_external_id: bool, is_sent: bool) -> None:
        self._run(self.world.accept(has_external_id=has_external_id, is_sent=is_sent))

    @rule(number=NUMBERS, is_sent=OFTEN)
    def accept_again(self, number: int, is_sent: bool) -> None:
        self._run(self.world.accept_again(number, is_sent=is_sent))

    @rule(number=NUMBERS, is_sent=OFTEN)
    def update(self, number: int, is_sent: bool) -> None:
        self._run(self.world.update(number, is_sent=is_sent))

    @rule(number=NUMBERS)
    def cancel(self, number: int) -> None:
        self._run(self.world.cancel(number))

    @rule(number=NUMBERS, is_sent=OFTEN)
    def retry(self, number: int, is_sent: bool) -> None:
        self._run(self.world.retry(number, is_sent=is_sent))

    @rule()
    def retry_all(self) -> None:
        self._run(self.world.retry_all())

    @rule(number=NUMBERS)
    def delete(self, number: int) -> None:
        self._run(self.world.delete(number))

    # --- workers --------------------------------------------------------------------------------------------

    @rule(number=NUMBERS, is_kept=RARELY)
    def deliver(self, number: int, is_kept: bool) -> None:
        self._run(self.world.deliver(number, is_kept=is_kept))

    @rule(number=NUMBERS)
    def deliver_and_read(self, number: int) -> None:
        self._run(self.world.deliver(number, is_kept=False))
        self._run(self.world.read(-1))

    @rule()
    def claim_without_message(self) -> None:
        self._run(self.world.claim_without_message())

    @rule(number=NUMBERS)
    def take_over(self, number: int) -> None:
        self._run(self.world.let_leases_run_out())
        self._run(self.world.sweep(is_sent=True))
        self._run(self.world.deliver(number, is_kept=False))

    @rule(number=NUMBERS)
    def read(self, number: int) -> None:
        self._run(self.world.read(number))

    @rule(
        number=NUMBERS,
        how=st.sampled_from(["complete", "complete", "complete", "fail", "release", "hand back", "die"]),
    )
    def finish(self, number: int, how: str) -> None:
        self._run(self.world.finish(number, how))

    @rule(is_heeded=OFTEN)
    def beat(self, is_heeded: bool) -> None:
        self._run(self.world.beat(is_heeded=is_heeded))

    # --- time and the reconciler ----------------------------------------------------------------------------

    @rule()
    def let_leases_run_out(self) -> None:
        self._run(self.world.let_leases_run_out())

    @rule()
    def let_time_pass(self) -> None:
        self._run(self.world.let_time_pass())

    @rule(is_sent=OFTEN)
    def sweep(self, is_sent: bool) -> None:
        self._run(self.world.sweep(is_sent=is_sent))

    @rule()
    def empty_the_queue(self) -> None:
        self._run(self.world.empty_the_queue())

    # --- promises -------------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_violated(self) -> None:
        self._run(self.world.check())

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self._run(self.world.settle())
            self.counts["documents"] += len(self.world.known)
            self.counts["runs"] += 1

    def _run(self, step: Any) -> None:
        self.counts["steps"] += 1
        self.runner.run(step)


#: In play at once: few enough that events meet.
MOST_DOCUMENTS = 12
