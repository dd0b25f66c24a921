"""One pass over files: those that the server does not have are sent, and followed to their ends."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeVar

from app.cli.ingesting.comparing import known_of, unchanged
from app.cli.ingesting.following import Follower
from app.cli.ingesting.report import Fate, Report, Result
from app.cli.ingesting.tally import Tally, Upload
from app.cli.ingesting.walking import File
from app.cli.remote.exits import is_unreachable
from app.client import AsyncSluice, Document, Item, Outcome, SluiceError
from app.client.errors import NotSendable
from app.client.items import SMALL_BYTES
from app.client.patches import is_applied

T = TypeVar("T")

#: Requests in the air at the same time. While one waits for the server's disk, another is on the wire.
SENDERS = 3

#: Documents in one `POST /documents/retry`, at most.
RETRIED_AT_ONCE = 1000

#: Each by a request of its own.
AMENDED_AT_ONCE = 8

RENAME = "Rename the file, or a folder above it; `ls` shows what it cannot read in its name as ?."


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is said about all files of a call."""

    collection: str = "default"
    metadata: Mapping[str, Any] | None = None
    wait: bool = True


class Sync:
    """One pass. Whatever ends it, `report` says how far it came.

    Args:
        report: Has a result for each of the files, which is filled in.
        shows_stages: Whether somebody looks at the tally's stages, which cost a request a second.
    """

    def __init__(
        self,
        sluice: AsyncSluice,
        report: Report,
        *,
        wishes: Wishes,
        tally: Tally,
        shows_stages: bool = False,
    ) -> None:
        self._sluice = sluice
        self._report = report
        self._wishes = wishes
        self._tally = tally
        self._shows_stages = shows_stages
        self._stopping = asyncio.Event()
        self._known: dict[str, Document] = {}
        self._on_the_way: dict[int, tuple[Item, File]] = {}  # By the identity of the item.
        self._follower = Follower(sluice, tally, self._give_up)

    def stop(self) -> None:
        """Send nothing more than what is in the air, and wait for nothing."""
        self._stopping.set()

    async def run(self) -> None:
        """Carry it out; what the server does not do is in the report, not raised."""
        stages = asyncio.create_task(self._watch_stages())
        waiting = asyncio.create_task(self._watch_waiting())
        try:
            to_send = await self._compare()
            await self._send(to_send)
            await self._unless_stopped(self._follower.finish(), None)
        except SluiceError as error:
            self._give_up(error)
        finally:
            stages.cancel()
            waiting.cancel()
            await self._follower.cancel()

    def _give_up(self, error: SluiceError) -> None:
        self._report.trouble = self._report.trouble or error
        self.stop()

    async def _unless_stopped(self, work: Coroutine[None, None, T], otherwise: T) -> T:
        """What the work comes to, or something else if it is not done when all has to stop."""
        task, stopped = asyncio.create_task(work), asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else otherwise
        finally:
            task.cancel()
            stopped.cancel()

    async def _watch_stages(self) -> None:
        if self._shows_stages and self._wishes.wait:
            await self._follower.watch_stages(self._wishes.collection)

    async def _watch_waiting(self) -> None:
        if self._wishes.wait:
            await self._follower.watch_waiting(self._wishes.collection)

    # --- What is there already ------------------------------------------------------------------------------

    async def _compare(self) -> list[File]:
        files = [result.file for result in self._report.results]
        asked = known_of(self._sluice, files, self._wishes.collection)
        self._known = await self._unless_stopped(asked, {})
        to_send, to_retry, to_amend = [], [], []
        async for file, is_known in unchanged(files, self._known):
            if self._stopping.is_set():
                break
            self._tally.compared += 1
            if not is_known:
                to_send.append(file)
                self._tally.to_send += 1
                self._tally.to_send_bytes += file.size_bytes
                continue
            result, document = self._report.of(file), self._known[file.label]
            if self._leave(result, document):
                to_retry.append(result)
            if self._lacks(document):
                to_amend.append(result)
        await self._retry(to_retry)
        await self._amend(to_amend)
        return to_send

    def _lacks(self, document: Document) -> bool:
        """Whether it is without some of the metadata that were given, as only `amend` changes them."""
        return not is_applied(self._wishes.metadata or {}, document.metadata)

    async def _amend(self, results: Sequence[Result]) -> None:
        for start in range(0, len(results), AMENDED_AT_ONCE):
            if self._stopping.is_set():
                return
            await asyncio.gather(*map(self._amend_one, results[start : start + AMENDED_AT_ONCE]))

    async def _amend_one(self, result: Result) -> None:
        assert result.document_id is not None
        try:
            # Perhaps it is one that had no name to be asked for by, and is there by its content.
            document = self._known.get(result.file.label) or await self._sluice.document(result.document_id)
            if not self._lacks(document):
                return
            await self._sluice.amend(document.document_id, metadata=self._wishes.metadata or {})
        except SluiceError as error:
            if is_unreachable(error):
                raise
            self._refuse(result, error)  # It was deleted meanwhile, for one.
            return
        if result.fate is Fate.UNCHANGED:
            result.fate = Fate.AMENDED

    def _leave(self, result: Result, document: Document) -> bool:
        """Take note of what the server has; True if it failed in a way that may not come again."""
        result.fate, result.document_id = Fate.UNCHANGED, document.document_id
        if document.error is not None and document.error.retryable:
            return True
        result.settle(document)
        self._tally.refused += result.trouble is not None
        if not result.is_settled:
            self._follow(result)
        return False

    async def _retry(self, results: Sequence[Result]) -> None:
        for start in range(0, len(results), RETRIED_AT_ONCE):
            some = results[start : start + RETRIED_AT_ONCE]
            ids = [result.document_id for result in some if result.document_id is not None]
            await self._sluice.retry_failed(document_ids=ids)
            for result in some:
                self._follow(result)

    def _follow(self, result: Result, outcome: Outcome | None = None) -> None:
        if self._wishes.wait:
            self._follower.follow(result, None if outcome is None else outcome.batch_id)

    # --- What is not ----------------------------------------------------------------------------------------

    async def _send(self, files: Sequence[File]) -> None:
        self._tally.sending_at = monotonic()
        feed = self._feed(files)
        try:
            await asyncio.gather(*(self._send_from(feed) for _ in range(SENDERS)))
        finally:
            for item, _ in self._on_the_way.values():
                if item.file is not None:
                    item.file.close()

    def _feed(self, files: Sequence[File]) -> Iterator[Item]:
        """Items as they are asked for, by whichever sender has room."""
        for file in files:
            if self._stopping.is_set():
                return
            if not _is_text(file.external_id or ""):
                trouble = NotSendable("Its name is no UTF-8, which a document's has to be.", hint=RENAME)
                self._refuse(self._report.of(file), trouble)
                continue
            try:
                item = self._item(file)
            except OSError as error:
                trouble = NotSendable(f"{file.path} cannot be read: {error.strerror or error}.")
                self._refuse(self._report.of(file), trouble)
                continue
            self._on_the_way[id(item)] = item, file
            yield item

    def _item(self, file: File) -> Item:
        said: dict[str, Any] = {
            "external_id": file.external_id,
            "collection": self._wishes.collection,
            "metadata": self._wishes.metadata,
        }
        if file.path is None:
            return Item(content=file.content, name=file.label, **said)
        if file.size_bytes > SMALL_BYTES:
            return Item(file=Upload(file.path, self._tally), name=file.path.name, **said)
        return Item(path=file.path, **said)

    async def _send_from(self, feed: Iterator[Item]) -> None:
        async with aclosing(self._sluice.ingest_many(feed)) as outcomes:
            async for outcome in outcomes:
                result = self._take(outcome)
                if self._wishes.metadata and result.fate is Fate.UNCHANGED:
                    await self._amend_one(result)

    def _take(self, outcome: Outcome) -> Result:
        item, file = self._on_the_way.pop(id(outcome.item))
        if item.file is not None:
            item.file.close()
        result = self._report.of(file)
        if outcome.error is not None and is_unreachable(outcome.error):
            self._give_up(outcome.error)
            return result
        self._tally.sent += 1
        self._tally.sent_bytes += file.size_bytes
        if outcome.error is not None:
            self._refuse(result, outcome.error)
            return result
        result.document_id, result.status = outcome.document_id, outcome.status
        result.fate = self._fate_of(file, outcome)
        if result.status != "COMPLETED":
            self._follow(result, outcome)
        return result

    def _refuse(self, result: Result, error: SluiceError) -> None:
        result.fail(error)
        self._tally.refused += 1

    def _fate_of(self, file: File, outcome: Outcome) -> Fate:
        if not outcome.created:
            return Fate.UNCHANGED
        return Fate.UPDATED if file.external_id in self._known else Fate.NEW


def _is_text(name: str) -> bool:
    """Whether it is more than bytes: of what is no UTF-8, Python has them in a way that cannot be sent."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
