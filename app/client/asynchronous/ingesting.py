"""Sends documents: one by itself, or many in groups, each again until every item of it has been told."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing, nullcontext
from uuid import uuid4

import httpx

from app.client.answers import Ingested
from app.client.asynchronous.connection import AsyncConnection
from app.client.asynchronous.waiting import beside
from app.client.batches import NDJSON, BatchAnswer, Group, Grouping, Kind, batch_body
from app.client.calls import Call, Prepared, decoded
from app.client.errors import PayloadTooLarge, SluiceError, TooManyItems
from app.client.items import Body, Entry, Item, Outcome


class AsyncSender:
    """Documents on their way to a server."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def one(self, item: Item, *, idempotency_key: str | None = None) -> Ingested:
        """`POST /ingest`. The key makes it one call however often it is sent.

        Raises:
            SluiceError: It was not taken.
        """
        headers = {"idempotency-key": idempotency_key or str(uuid4())}
        call = Call(method="POST", path="/ingest", headers=headers, body=lambda: Body(item))
        response = await self._connection.send(call)
        return decoded(Ingested, response, created=response.status_code == httpx.codes.CREATED)

    async def many(self, items: Iterable[Item]) -> AsyncGenerator[Outcome, None]:
        """Send items as they come; what became of each is told as soon as the server has said it."""
        grouping = Grouping()
        for index, item in enumerate(items):
            try:
                loaded = await beside(item.loaded)
            except SluiceError as error:
                yield Outcome(item, index, error=error)
                continue
            for group in grouping.add(Entry(index, item, loaded)):
                async with aclosing(self.group(group)) as outcomes:
                    async for outcome in outcomes:
                        yield outcome
        for group in grouping.rest():
            async with aclosing(self.group(group)) as outcomes:
                async for outcome in outcomes:
                    yield outcome

    async def group(self, group: Group) -> AsyncGenerator[Outcome, None]:
        """Send a group; each of its items is told once."""
        if group.kind[0] != "single":
            async with aclosing(self._together(group.kind, group.entries)) as outcomes:
                async for outcome in outcomes:
                    yield outcome
            return
        for entry in group.entries:
            try:
                taken = await self.one(entry.item)
            except SluiceError as error:
                yield Outcome(entry.given, entry.index, error=error)
            else:
                yield Outcome(entry.given, entry.index, taken.document_id, taken.status, taken.created)

    async def _together(self, kind: Kind, entries: Sequence[Entry]) -> AsyncGenerator[Outcome, None]:
        """What was told stands; what is left is sent again, as long as that may help.

        Sending an item again is safe: a document is the same by its content, or by its name and content.
        """
        left, tries = entries, 0
        while left:
            answer = BatchAnswer(left)
            try:
                async with aclosing(self._attempt(kind, left, answer)) as outcomes:
                    async for outcome in outcomes:
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
                        async with aclosing(self._together(kind, half)) as outcomes:
                            async for outcome in outcomes:
                                yield outcome
                    return
            pause_s = self._connection.pause_s(tries, answer.trouble)
            if pause_s is None:
                for entry in left:
                    yield answer.given_up(entry)
                return
            if left:
                await self._connection.pause(pause_s, answer.trouble)

    async def _attempt(
        self, kind: Kind, entries: Sequence[Entry], answer: BatchAnswer
    ) -> AsyncGenerator[Outcome, None]:
        params, body = batch_body(kind, entries)
        call = Call(
            method="POST",
            path="/ingest/batch",
            params=params,
            headers={"accept": NDJSON},
            body=lambda: nullcontext(Prepared(**body)),
        )
        async with self._connection.streamed(call) as response:
            answer.begin(response.headers.get("location", ""))
            async for line in response.aiter_lines():
                outcome = answer.take(line)
                if outcome is not None:
                    yield outcome
