"""Keeps a server in step with folders for as long as they are watched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from time import monotonic

from rich.text import Text
from watchfiles import awatch

from app.cli.ingesting.report import Fate, Report, results_of
from app.cli.ingesting.running import Running
from app.cli.ingesting.summary import STYLES, summarize
from app.cli.ingesting.walking import TwoOfOneName, Walk
from app.cli.remote.command import Session
from app.cli.remote.exits import is_unreachable
from app.cli.remote.output import clean
from app.client import AsyncSluice, SluiceError

#: How often to look up from waiting for changes, to try again what a server that was away did not get.
LOOK_UP_MS = 500

TRY_AGAIN_S = 5.0


class FolderWatch:
    """Passes over what has changed, one at a time.

    Args:
        roots: The folders, as they were walked.
        options: For each `Walk`.
        deletes: Whether the document of a file that is deleted has to go, too.
    """

    def __init__(
        self, running: Running, roots: Sequence[Path], *, prefix: str, exclude: Sequence[str], deletes: bool
    ) -> None:
        self._running = running
        self._session: Session = running.session
        self._roots = {root.resolve(): root for root in roots}
        self._prefix = prefix
        self._exclude = exclude
        self._deletes = deletes
        self._pending: set[Path] = set()
        self._seen: dict[Path, str] = {}
        self._try_at = 0.0
        self.report = Report([])

    async def run(self, sluice: AsyncSluice) -> None:
        """Until the running is stopped. The first pass is over everything, and its report is kept."""
        async for changes in awatch(
            *self._roots,
            stop_event=self._running.stopping,
            yield_on_timeout=True,
            rust_timeout=LOOK_UP_MS,
            watch_filter=None,
            ignore_permission_denied=True,
        ):
            # Only now is it certain that no change is missed, so only now everything is looked at.
            if not self._try_at:
                await self._first_pass(sluice)
                if self.report.trouble is not None:
                    return
            self._pending |= {Path(path) for _, path in changes}
            if self._pending and monotonic() >= self._try_at:
                await self._next_pass(sluice)

    async def _first_pass(self, sluice: AsyncSluice) -> None:
        self._try_at = monotonic()
        walk = self._walked(self._roots)
        self.report = Report(results_of(walk), walk.left_out, walk.unreadable)
        await self._running.pass_over(sluice, self.report)
        if self._session.out.as_json:
            self._tell(self.report)
        else:
            summarize(self._session, self.report, waited=self._running.wishes.wait)
        if self.report.trouble is None and not self._running.stopping.is_set():
            self._session.out.note("Watching; Ctrl-C ends it.", style="dim")

    async def _next_pass(self, sluice: AsyncSluice) -> None:
        changed, self._pending = self._pending, set()
        gone = [path for path in self._seen if not path.exists() and _is_below(path, changed)]
        try:
            walk = self._walked(changed)
        except TwoOfOneName as error:  # A file came that has the name of one in another folder.
            self._session.out.note(str(error), style="red")
            self._pending |= changed  # The others are not to wait until they change again.
            self._try_at = monotonic() + TRY_AGAIN_S
            return
        report = Report(results_of(walk), unreadable=walk.unreadable)
        try:
            if report.results:
                await self._running.pass_over(sluice, report)
            self._tell(report)
            self._tell_left_out(walk)
            for path in gone if report.trouble is None else ():
                await self._part_with(sluice, path)
        except SluiceError as error:
            report.trouble = error
        if report.trouble is not None:
            self._session.tell(report.trouble)
            if is_unreachable(report.trouble):
                self._pending |= changed
                self._try_at = monotonic() + TRY_AGAIN_S

    def _walked(self, paths: Iterable[Path]) -> Walk:
        walk = Walk(prefix=self._prefix, exclude=self._exclude)
        for path in paths:
            root = next((root for root in self._roots if path.is_relative_to(root)), None)
            if root is not None:
                walk.add_below(root, path)
        self._seen |= {file.path: file.label for file in walk.files.values() if file.path is not None}
        return walk

    async def _part_with(self, sluice: AsyncSluice, path: Path) -> None:
        """A file is gone; a whole folder that is, was perhaps only unmounted, and is no reason to delete."""
        label = self._seen[path]
        if not self._deletes:
            self._say("gone", label, "its document stays; --delete removes such documents")
        elif any(path.is_relative_to(root) and not root.exists() for root in self._roots):
            self._say(
                "gone", label, "its document stays, since the folder that was watched is gone as a whole"
            )
        else:
            collection = self._running.wishes.collection
            async for document in sluice.documents(collection=collection, external_id=label):
                await sluice.delete(document.document_id)
            self._say("deleted", label)
        del self._seen[path]

    def _tell(self, report: Report) -> None:
        for result in report.results:
            if result.fate is Fate.UNSENT:
                continue  # It comes again; why, is told once for all.
            if self._session.out.as_json:
                self._session.out.json_line(result.as_json())
                continue
            trouble = result.trouble
            why = f"{trouble.code}: {trouble.message} {trouble.hint}" if trouble else ""
            self._say(result.fate.value, result.file.label, why, style=STYLES.get(result.fate, ""))
        for each in report.unreadable:
            self._say("unreadable", str(each.path), each.reason, style="red")

    def _tell_left_out(self, walk: Walk) -> None:
        """Of what was taken before only: of the rest, there is nothing that anybody would miss."""
        for each in walk.left_out:
            if (label := self._seen.get(each.path)) is not None:
                self._say("left_out", label, f"{each.reason}; its document stays as it was", style="yellow")

    def _say(self, what: str, label: str, why: str = "", style: str = "") -> None:
        if self._session.out.as_json:
            self._session.out.json_line({"external_id": label, "result": what})
            return
        at = datetime.now().astimezone().strftime("%H:%M:%S")
        told = f" {clean(label)}" + (f": {clean(why)}" if why else "")
        self._session.out.say(
            Text.assemble((f"{at} ", "dim"), (f"{what.replace('_', ' '):<10}", style), told)
        )


def _is_below(path: Path, folders: set[Path]) -> bool:
    return path in folders or not folders.isdisjoint(path.parents)
