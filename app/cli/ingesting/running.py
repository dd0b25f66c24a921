"""A pass in front of a person: what is shown meanwhile, and how Ctrl-C ends it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from app.cli.ingesting.report import Report
from app.cli.ingesting.screen import shown
from app.cli.ingesting.sync import Sync, Wishes
from app.cli.ingesting.tally import Tally
from app.cli.remote.command import Session
from app.client import AsyncSluice


class Running:
    """Passes with the same wishes, one after the other, and one Ctrl-C for all of them."""

    def __init__(self, session: Session, wishes: Wishes) -> None:
        self.session = session
        self.wishes = wishes
        self.stopping = asyncio.Event()
        self._sync: Sync | None = None

    async def pass_over(self, sluice: AsyncSluice, report: Report) -> None:
        """Bring the server in step with the files of a report."""
        begun = monotonic()
        out = self.session.out
        tally = Tally(total=len(report.results))
        self._sync = Sync(sluice, report, wishes=self.wishes, tally=tally, shows_stages=out.notes.is_terminal)
        try:
            with shown(tally, out, waits=self.wishes.wait):
                await self._sync.run()
        finally:
            self._sync = None
            report.was_interrupted = self.stopping.is_set()
            report.elapsed_s = monotonic() - begun

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Inside the block, the first Ctrl-C ends well what is going on, and the second one at once."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def first() -> None:
            loop.add_signal_handler(signal.SIGINT, task.cancel)
            self._stop()

        loop.add_signal_handler(signal.SIGINT, first)
        try:
            yield
        except asyncio.CancelledError:
            if not self.stopping.is_set():
                raise
        finally:
            loop.remove_signal_handler(signal.SIGINT)

    def _stop(self) -> None:
        self.stopping.set()
        if self._sync is not None:
            self.session.out.note("Finishing what is in the air; Ctrl-C again stops at once.", style="yellow")
            self._sync.stop()
