"""A small world around the real `Document`: workers that die or sleep, messages lost, late or doubled.

The database is real, and so is every move; what is played is who makes one, and when. Time passes when the
world says so: leases run out and retries are due by the stroke of a pen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import numpy as np
from tortoise import connections

from app.errors import NoText, TransientError
from app.models import acceptance, backlog
from app.models.acceptance import NewDocument
from app.models.backlog import FailedFilter
from app.models.chunk import NewChunk
from app.models.document import Document, Ingested
from app.models.document_content import DocumentContent
from app.models.reach import EVERYTHING

DIMENSIONS = 64
VECTOR = np.full(DIMENSIONS, DIMENSIONS**-0.5, np.float16)

#: What must hold after every step, whatever was done: each query returns the rows that violate it.
ALWAYS = {
    "an attempt is open exactly while a document is PROCESSING, and it is the document's": """
        SELECT d.id FROM documents AS d LEFT JOIN attempts AS a ON a.document_id = d.id AND a.ended_at IS NULL
        GROUP BY d.id HAVING count(a.id) <> (d.status = 'PROCESSING')::int
            OR max(a.attempt) IS DISTINCT FROM CASE WHEN d.status = 'PROCESSING' THEN d.attempt END
    """,
    "the chunks are those of the indexed version, all of them, once": """
        SELECT d.id FROM documents AS d LEFT JOIN chunks AS c ON c.document_id = d.id
        GROUP BY d.id HAVING count(c.id) FILTER (WHERE c.version IS DISTINCT FROM d.indexed_version) > 0
            OR count(c.id) <> CASE WHEN d.indexed_version IS NULL THEN 0 ELSE d.chunk_count END
            OR count(c.id) <> count(DISTINCT c.ordinal) OR COALESCE(max(c.ordinal), -1) <> count(c.id) - 1
    """,
    "COMPLETED means that the newest version is indexed": """
        SELECT id FROM documents WHERE status = 'COMPLETED' AND indexed_version IS DISTINCT FROM version
    """,
    "a document has the content of its version": """
        SELECT d.id FROM documents AS d LEFT JOIN document_contents AS c ON c.document_id = d.id
        WHERE c.content IS NULL OR encode(sha256(c.content), 'hex') <> d.sha256
    """,
    "nothing goes on beyond the last failure": "SELECT id FROM documents WHERE failures NOT BETWEEN 0 AND 6",
}


@dataclass
class Known:
    """What the world remembers of a document, to hold the database against it."""

    document_id: UUID
    external_id: str | None
    contents: list[bytes]  # By version: the first is version 1.
    is_deleted: bool = False
    attempts: list[int] = field(default_factory=lambda: [0])

    @property
    def name(self) -> str | bytes:
        """By which it is found when it is offered again."""
        return self.external_id or self.contents[0]


@dataclass
class Hand:
    """A document as a worker took it; the worker may have lost it since, and not know."""

    document: Document
    content: bytes | None = None  # Read at some time after the claim.


class World:
    """Everything that can happen, one step at a time. Numbers choose among what there is."""

    def __init__(self, beats: asyncpg.Connection) -> None:
        self._beats = beats
        self.known: list[Known] = []
        self.messages: list[UUID] = []
        self.hands: list[Hand] = []
        self._updates = 0
        self._emptied_at = datetime(2000, 1, 1, tzinfo=UTC)

    # --- what people do -------------------------------------------------------------------------------------

    async def accept(self, *, has_external_id: bool, is_sent: bool) -> None:
        """A new document; its message may be lost."""
        number = len(self.known)
        external_id = f"e{number}" if has_external_id else None
        content = f"document {number}".encode()
        accepted = await acceptance.accept(_new(content, external_id))
        assert accepted.created
        self.known.append(Known(accepted.document_id, external_id, [content]))
        self._send(accepted.document_id, is_sent=is_sent)

    async def accept_again(self, number: int, *, is_sent: bool) -> None:
        """The same content: nothing changes, unless it is FAILED, or was deleted."""
        known = self._living(self._one(number))
        accepted = await acceptance.accept(_new(known.contents[-1], known.external_id))
        if known.is_deleted:
            self.known.append(Known(accepted.document_id, known.external_id, [known.contents[-1]]))
        assert accepted.created == known.is_deleted
        assert (accepted.document_id == known.document_id) != known.is_deleted
        if accepted.queued:
            self._send(accepted.document_id, is_sent=is_sent)

    async def update(self, number: int, *, is_sent: bool) -> None:
        """Other content under a known name."""
        known = self._one(number)
        if known.external_id is None or known.is_deleted:
            return
        self._updates += 1  # Never one that the document has already: that would be no update.
        content = f"{known.external_id}, update {self._updates}".encode()
        accepted = await acceptance.accept(_new(content, known.external_id))
        assert (accepted.document_id, accepted.created) == (known.document_id, True)
        known.contents.append(content)
        self._send(accepted.document_id, is_sent=is_sent)

    async def cancel(self, number: int) -> None:
        await Document.cancel(self._one(number).document_id)

    async def retry(self, number: int, *, is_sent: bool) -> None:
        known = self._one(number)
        if await Document.retry(known.document_id):
            self._send(known.document_id, is_sent=is_sent)

    async def retry_all(self) -> None:
        await backlog.retry_failed(FailedFilter(), EVERYTHING, limit=100)

    async def delete(self, number: int) -> None:
        known = self._one(number)
        removed = await Document.remove(known.document_id, EVERYTHING)
        assert (removed is None) == known.is_deleted
        known.is_deleted = True

    # --- what workers do ------------------------------------------------------------------------------------

    async def deliver(self, number: int, *, is_kept: bool) -> None:
        """A message arrives, in any order; kept, it will arrive once more."""
        if not self.messages:
            return
        index = number % len(self.messages)
        document_id = self.messages[index] if is_kept else self.messages.pop(index)
        self._take(await backlog.claim_next(document_id, owner="worker", lease_s=30))

    async def claim_without_message(self) -> None:
        self._take(await backlog.claim_due(owner="worker", lease_s=30))

    async def read(self, number: int) -> None:
        """The content as it is at this moment, which may be that of a later version already."""
        if self.hands:
            hand = self.hands[number % len(self.hands)]
            kept = await DocumentContent.get_or_none(document_id=hand.document.id)
            hand.content = None if kept is None else bytes(kept.content)

    async def finish(self, number: int, how: str) -> None:
        """A worker comes to an end with what it took, whether or not it is still its own."""
        if not self.hands:
            return
        hand = self.hands.pop(number % len(self.hands))
        ends: dict[str, Callable[[], Awaitable[object]]] = {
            "complete": lambda: hand.document.complete(_ingested(hand.content)),
            "fail": lambda: hand.document.fail(NoText()),
            "release": lambda: hand.document.release(TransientError("busy"), backoff_s=60),
            "hand back": hand.document.hand_back,
            "die": _nothing,
        }
        if how == "complete" and hand.content is None:
            how = "release"
        is_its_own = await Document.filter(
            id=hand.document.id, status="PROCESSING", attempt=hand.document.attempt
        ).exists()
        has_moved = await ends[how]()
        if how in {"complete", "fail", "hand back"}:
            assert has_moved == is_its_own, "violated: who has lost a document writes nothing"

    async def beat(self, *, is_heeded: bool) -> None:
        """Renew what is held; a worker that heeds the answer drops what it has lost, a zombie does not."""
        held = [hand.document for hand in self.hands]
        ours = await Document.beat(self._beats, held, lease_s=30)
        if is_heeded:
            self.hands = [hand for hand in self.hands if (hand.document.id, hand.document.attempt) in ours]

    # --- what time and the reconciler do --------------------------------------------------------------------

    async def let_leases_run_out(self) -> None:
        await _run(
            "UPDATE documents SET lease_expires_at = now() - interval '1 s' WHERE status = 'PROCESSING'"
        )

    async def let_time_pass(self) -> None:
        """What waits for its next try is due, and every message that is under way is late."""
        await _run(
            "UPDATE documents SET next_attempt_at = LEAST(next_attempt_at, now()),"
            " sent_at = LEAST(sent_at, now() - interval '1 h') WHERE status = 'PENDING'"
        )

    async def sweep(self, *, is_sent: bool) -> None:
        await backlog.reap(limit=3, backoff_s=0)
        taken = await backlog.take_unsent(limit=5, emptied_at=self._emptied_at, late_too=True)
        if is_sent:
            self.messages += taken
        else:
            await backlog.put_back_unsent(taken)

    async def empty_the_queue(self) -> None:
        self.messages.clear()
        self._emptied_at = await backlog.now()

    # --- what must hold -------------------------------------------------------------------------------------

    async def check(self) -> None:
        """All that must hold at any time.

        Raises:
            AssertionError: It does not; with what was violated.
        """
        for what, query in ALWAYS.items():
            rows = await connections.get("default").execute_query_dict(query)
            assert not rows, f"violated: {what}"
        await self._check_against_memory()

    async def settle(self) -> None:
        """Everything dead is gone, one honest worker is left: now every document must come to its end.

        Raises:
            AssertionError: One does not, or its chunks are not those of its content.
        """
        self.hands.clear()
        self.messages.clear()
        await self.let_leases_run_out()
        for _ in range(10 * (len(self.known) + 1)):
            await self.let_time_pass()
            await self.sweep(is_sent=True)
            while self.messages:
                await self.deliver(0, is_kept=False)
                await self.read(0)
                await self.finish(0, "complete")
            if not await Document.filter(status__in=["PENDING", "PROCESSING"]).exists():
                break
        await self.check()
        rows = await Document.all().values_list("id", "status")
        stuck = [row for row in rows if row[1] not in {"COMPLETED", "FAILED"}]
        assert not stuck, f"violated: a final state follows ({stuck})"

    async def _check_against_memory(self) -> None:
        rows = await connections.get("default").execute_query_dict(
            "SELECT d.id, d.attempt, d.version, d.indexed_version,"
            " string_agg(c.text, '' ORDER BY c.ordinal) AS text"
            " FROM documents AS d LEFT JOIN chunks AS c ON c.document_id = d.id GROUP BY d.id"
        )
        found = {row["id"]: row for row in rows}
        for known in self.known:
            assert (known.document_id in found) != known.is_deleted, (
                "violated: a document is there until deleted"
            )
            if known.is_deleted:
                continue
            row = found[known.document_id]
            assert row["version"] == len(known.contents), "violated: one version for each content"
            assert row["attempt"] >= known.attempts[-1], "violated: attempts only grow"
            known.attempts.append(row["attempt"])
            if row["indexed_version"] is not None:
                content = known.contents[row["indexed_version"] - 1].decode()
                assert row["text"] == content, "violated: the chunks are those of their version's content"

    # --- how it is done -------------------------------------------------------------------------------------

    def _one(self, number: int) -> Known:
        return self.known[number % len(self.known)]

    def _living(self, known: Known) -> Known:
        """What bears its name now, if it was deleted and then accepted again."""
        same = (other for other in self.known if other.name == known.name and not other.is_deleted)
        return next(same, known)

    def _send(self, document_id: UUID, *, is_sent: bool) -> None:
        if is_sent:
            self.messages.append(document_id)

    def _take(self, document: Document | None) -> None:
        if document is not None:
            self.hands.append(Hand(document))


def _new(content: bytes, external_id: str | None) -> NewDocument:
    return NewDocument(
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        media_type="text/plain",
        content=content,
        external_id=external_id,
    )


def _ingested(content: bytes | None) -> Ingested:
    text = (content or b"").decode()
    middle = len(text) // 2
    chunks = [
        NewChunk(part, start, start + len(part), None, None, (), 1, VECTOR)
        for part, start in ((text[:middle], 0), (text[middle:], middle))
    ]
    return Ingested(space_id=1, media_type="text/plain", title=None, warnings=[], chunks=chunks)


async def _run(statement: str) -> None:
    await connections.get("default").execute_query(statement)


async def _nothing() -> None:
    pass
