# Made from asynchronous/ingesting.py by `python -m app.client.making`: change that one.
"""Sends documents: one by itself, or many in groups, each again until every item of it has been told."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing, nullcontext
from uuid import uuid4

import httpx

from app.client.answers import Ingested
from app.client.batches import NDJSON, BatchAnswer, Group, Grouping, Kind, batch_body
from app.client.calls import Call, Prepared, decoded
from app.client.errors import PayloadTooLarge, SluiceError, TooManyItems
from app.client.items import Body, Entry, Item, Outcome
from app.client.synchronous.connection import Connection
from app.client.synchronous.waiting import beside


class Sender:
    """Documents on their way to a server."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def one(self, item: Item, *, idempotency_key: str | None = None) -> Ingested:
        """`POST /ingest`. The key makes it one call however often it is sent.

        Raises:
            SluiceError: It was not taken.
        """
        headers = {"idempotency-key": idempotency_key or str(uuid4())}
        call = Call(method="POST", path="/ingest", headers=headers, body=lambda: Body(item))
        response = self._connection.send(call)
        return decoded(Ingested, response, created=response.status_code == httpx.codes.CREATED)

    def many(self, items: Iterable[Item]) -> Generator[Outcome, None, None]:
        """Send items as they come; what became of each is told as soon as the server has said it."""
        grouping = Grouping()
        for index, item in enumerate(items):
            try:
                loaded = beside(item.loaded)
            except SluiceError as error:
                yield Outcome(item, index, error=error)
                continue
            for group in grouping.add(Entry(index, item, loaded)):
                with closing(self.group(group)) as outcomes:
                    for outcome in outcomes:
                        yield outcome
        for group in grouping.rest():
            with closing(self.group(group)) as outcomes:
                for outcome in outcomes:
                    yield outcome

    def group(self, group: Group) -> Generator[Outcome, None, None]:
        """Send a group; each of its items is told once."""
        if group.kind[0] != "single":
            with closing(self._together(group.kind, group.entries)) as outcomes:
                for outcome in outcomes:
                    yield outcome
            return
        for entry in group.entries:
            try:
                taken = self.one(entry.item)
            except SluiceError as error:
                yield Outcome(entry.given, entry.index, error=error)
            else:
                yield Outcome(entry.given, entry.index, taken.document_id, taken.status, taken.created)

    def _together(self, kind: Kind, entries: Sequence[Entry]) -> Generator[Outcome, None, None]:
        """What was told stands; what is left is sent again, as long as that may help.

        Sending an item again is safe: a document is the same by its content, or by its name and content.
        """
        left, tries = entries, 0
        while left:
            answer = BatchAnswer(left)
            try:
                with closing(self._attempt(kind, left, answer)) as outcomes:
                    for outcome in outcomes:
                        yield outcome
            except SluiceError as error:
                answer.trouble = error
            left = answer.left
            tries = 1 if answer.has_told else tries + 1
            if isinstance(answer.trouble, PayloadTooLarge | TooManyItems):
                if answer.has_told:
                    continue  # It takes less at once than we sent; what it took is taken.
                if len(left) > 1:
                    for half in (left[: len(left) // 2], left[len(left) // 2 :]):
                        with closing(self._together(kind, half)) as outcomes:
                            for outcome in outcomes:
                                yield outcome
                    return
            pause_s = self._connection.pause_s(tries, answer.trouble)
            if pause_s is None:
                for entry in left:
                    yield answer.given_up(entry)
                return
            if left:
                self._connection.pause(pause_s, answer.trouble)

    def _attempt(
        self, kind: Kind, entries: Sequence[Entry], answer: BatchAnswer
    ) -> Generator[Outcome, None, None]:
        params, body = batch_body(kind, entries)
        call = Call(
            method="POST",
            path="/ingest/batch",
            params=params,
            headers={"accept": NDJSON},
            body=lambda: nullcontext(Prepared(**body)),
        )
        with self._connection.streamed(call) as response:
            answer.begin(response.headers.get("location", ""))
            for line in response.iter_lines():
                outcome = answer.take(line)
                if outcome is not None:
                    yield outcome
