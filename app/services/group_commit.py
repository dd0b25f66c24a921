"""Group commit: small documents that are offered at the same time are made durable by one commit."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from app.models.document import Accepted, Document, NewDocument

log = structlog.get_logger(__name__)

#: Documents, and bytes of them, that one commit takes at the most.
GROUP_ITEMS = 64
GROUP_BYTES = 1024 * 1024


@dataclass(eq=False, slots=True)
class _Offered:
    """A document that waits for its group; `accepted` is None when it has to go by itself."""

    new: NewDocument
    accepted: asyncio.Future[Accepted | None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class GroupCommit:
    """`Document.accept`, where those that come during one commit share the next.

    Nobody waits for company: what comes to an idle service is written at once, by itself. A commit takes as
    long for fifty documents as for one, so that the busier the service, the less each of them costs.
    """

    def __init__(self) -> None:
        self._waiting: list[_Offered] = []
        self._committing: asyncio.Task[None] | None = None

    async def accept(self, new: NewDocument) -> Accepted:
        """Make the document durable, or find the one that it is already; see `Document.accept`."""
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit_waiting())
        offered = _Offered(new)
        self._waiting.append(offered)
        return await offered.accepted or await Document.accept(new)

    async def _commit_waiting(self) -> None:
        try:
            while group := self._next_group():
                for offered, accepted in zip(group, await _accepted(group), strict=True):
                    if not offered.accepted.done():  # Its client may have gone.
                        offered.accepted.set_result(accepted)
        finally:
            self._committing = None

    def _next_group(self) -> list[_Offered]:
        group: list[_Offered] = []
        size_bytes = 0
        for offered in self._waiting[:GROUP_ITEMS]:
            size_bytes += offered.new.size_bytes
            if group and size_bytes > GROUP_BYTES:
                break
            group.append(offered)
        del self._waiting[: len(group)]
        return group


async def _accepted(group: Sequence[_Offered]) -> Sequence[Accepted | None]:
    """What became of each; None for one that the group's statement could not take."""
    try:
        return await Document.accept_new([offered.new for offered in group])
    except Exception as error:  # Each finds out for itself whether it was the one.
        log.warning("group_not_accepted", documents=len(group), error=str(error) or type(error).__name__)
        return [None] * len(group)
