"""Tells what a secret opens: the database's word, remembered for a few seconds."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import Self
from uuid import UUID

import structlog

from app.core.tasks import end
from app.errors import DatabaseUnavailable
from app.models import api_key
from app.models.reach import Reach

log = structlog.get_logger(__name__)

#: Every secret begins so, and scanners for secrets that lie about can be told. Whatever begins otherwise is
#: refused without a look at the database.
PREFIX = "sluice_"
RANDOM_BYTES = 32

#: Characters of a secret that are kept and shown; too few to be of help to anybody who guesses.
BEGINNING_CHARS = len(PREFIX) + 6

#: A key that was removed opens for so long at the most.
REMEMBERED_S = 5.0

#: Secrets that are remembered, of keys, and of none: whoever guesses pushes out guesses and no keys.
MOST_REMEMBERED = 10_000

#: Looks at the database at the same time, and how long one may take with the wait for it. So whoever guesses
#: has to queue, and all connections but a few are left to those who have a key.
LOOKS_AT_ONCE = 4
LOOK_S = 5.0


def new_secret() -> str:
    """A secret of 32 random bytes."""
    return PREFIX + secrets.token_urlsafe(RANDOM_BYTES)


def is_of_ours(secret: bytes) -> bool:
    """Whether it can be a secret that was made here."""
    return secret.startswith(PREFIX.encode())


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a secret opens, and how long that may be relied on."""

    reach: Reach | None  # None: nothing.
    until: float  # By the clock of the event loop.


class KeyService:
    """Remembers what was looked up, key or not, and looks again when that is old."""

    def __init__(self) -> None:
        self._keys = _Memory()
        self._others = _Memory()
        self._looking = asyncio.Semaphore(LOOKS_AT_ONCE)
        self._noting: set[asyncio.Task[None]] = set()
        self.looks = 0  # At the database.

    async def verdict(self, digest: bytes) -> Verdict:
        """What the secret of this digest opens.

        Raises:
            DatabaseUnavailable, or what the driver raises: It is not remembered, and cannot be looked up.
        """
        return self._remembered(digest) or await self._looked_up(digest)

    def _remembered(self, digest: bytes) -> Verdict | None:
        return self._keys.get(digest) or self._others.get(digest)

    async def _looked_up(self, digest: bytes) -> Verdict:
        try:
            async with asyncio.timeout(LOOK_S), self._looking:
                # Whoever waited here may have waited for the same key.
                return self._remembered(digest) or await self._look(digest)
        except TimeoutError as error:
            raise DatabaseUnavailable from error

    async def _look(self, digest: bytes) -> Verdict:
        begun = asyncio.get_running_loop().time()  # Before the look: what comes after it is not seen by it.
        self.looks += 1
        found = await api_key.look_up(digest)
        if found is None:
            return self._others.put(digest, Verdict(None, begun + REMEMBERED_S))
        if not found.is_use_noted:
            self._note_use(found.key_id)
        return self._keys.put(digest, Verdict(found.reach, begun + min(REMEMBERED_S, found.left_s)))

    def forget(self) -> None:
        """Look again before anybody is let in: keys have changed."""
        self._keys.clear()
        self._others.clear()

    def _note_use(self, key_id: UUID) -> None:
        """Beside the call, which does not wait for it."""
        task = asyncio.create_task(_noted(key_id), name="note_use")
        self._noting.add(task)
        task.add_done_callback(self._noting.discard)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in list(self._noting):
            await end(task)


async def _noted(key_id: UUID) -> None:
    try:
        await api_key.note_use(key_id)
    except Exception as error:  # It is noted with another call.
        log.warning("use_not_noted", key_id=str(key_id), error=str(error) or type(error).__name__)


class _Memory:
    """Verdicts that hold still, of the secrets that were asked for last."""

    def __init__(self) -> None:
        self._verdicts: OrderedDict[bytes, Verdict] = OrderedDict()

    def get(self, digest: bytes) -> Verdict | None:
        verdict = self._verdicts.get(digest)
        if verdict is None or verdict.until <= asyncio.get_running_loop().time():
            return None
        self._verdicts.move_to_end(digest)
        return verdict

    def put(self, digest: bytes, verdict: Verdict) -> Verdict:
        self._verdicts[digest] = verdict
        self._verdicts.move_to_end(digest)
        if len(self._verdicts) > MOST_REMEMBERED:
            self._verdicts.popitem(last=False)
        return verdict

    def clear(self) -> None:
        self._verdicts.clear()
