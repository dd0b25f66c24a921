"""How far a call has come, in numbers; a screen shows them whenever it likes."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from time import monotonic
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Waiting:
    """Documents that could not be indexed yet, and are tried again.

    Args:
        next_try_at: Of the one whose turn comes first.
        why: What its last try ended with.
    """

    number: int
    next_try_at: datetime
    why: str


@dataclass(slots=True)
class Tally:
    """Counts of files, but for what says bytes.

    Args:
        total: Of the call. `compared` of them were looked at.
        to_send, to_send_bytes: What the server does not have yet, as far as that is known.
        sent, sent_bytes: What it has answered for.
        in_air: Bytes on the way, of large files, by what is sent.
        to_follow: Documents whose end is waited for.
        finals: How many of them are final, and `failures` how many failed, by batch; None for those alone.
        refused: Files that were not taken.
        stages: Of documents in a worker's hands just now.
        waiting: Those that nothing but their next try is waited for; None while others become final.
    """

    total: int = 0
    compared: int = 0
    to_send: int = 0
    to_send_bytes: int = 0
    sent: int = 0
    sent_bytes: int = 0
    to_follow: int = 0
    refused: int = 0
    in_air: dict[object, int] = field(default_factory=dict)
    finals: Counter[UUID | None] = field(default_factory=Counter)
    failures: Counter[UUID | None] = field(default_factory=Counter)
    stages: Counter[str] = field(default_factory=Counter)
    waiting: Waiting | None = None
    begun_at: float = field(default_factory=monotonic)
    sending_at: float | None = None
    followed_at: float | None = None

    @property
    def moved_bytes(self) -> int:
        return self.sent_bytes + sum(self.in_air.values())

    @property
    def done(self) -> int:
        return self.finals.total()

    @property
    def failed(self) -> int:
        return self.refused + self.failures.total()

    @property
    def bytes_per_s(self) -> float:
        return _rate(self.moved_bytes, self.sending_at)

    @property
    def done_per_s(self) -> float:
        return _rate(self.done, self.followed_at)

    @property
    def sending_left_s(self) -> float | None:
        """Until all is sent, at this rate; None when that cannot be said."""
        return _left(self.to_send_bytes - self.moved_bytes, self.bytes_per_s)

    @property
    def following_left_s(self) -> float | None:
        """Until all is final, at this rate; None when that cannot be said."""
        expected = max(self.to_follow, self.to_follow + self.to_send - self.sent)
        return _left(expected - self.done, self.done_per_s)


def _rate(amount: int, since: float | None) -> float:
    return 0.0 if since is None else amount / max(monotonic() - since, 0.001)


def _left(amount: int, rate: float) -> float | None:
    return max(amount, 0) / rate if rate > 0 else None


class Upload(io.FileIO):
    """A large file whose bytes are counted as they leave."""

    def __init__(self, path: Path, tally: Tally) -> None:
        super().__init__(path)
        self._tally = tally

    def read(self, size: int | None = -1, /) -> bytes | None:  # type: ignore[override]  # None: it would block.
        """As any file; also the second time, after a connection that broke."""
        block = super().read(-1 if size is None else size)
        self._tally.in_air[self] = self.tell()
        return block

    def close(self) -> None:
        """It has been answered for, whatever the answer was."""
        self._tally.in_air.pop(self, None)
        super().close()
