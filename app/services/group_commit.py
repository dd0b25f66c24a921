"""Group commit: small documents that are offered at the same time are made durable by one commit."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from app.models import acceptance
from app.models.acceptance import Accepted, NewDocument
from app.services.grouping import Grouped
from app.services.tempo import Tempo

log = structlog.get_logger(__name__)

#: What one commit takes at the most: so many bytes, and documents of which each counts for one 64th of that.
GROUP_BYTES = 1024 * 1024
LEAST_BYTES = GROUP_BYTES // 64


class GroupCommit:
    """`acceptance.accept`, where those that come during one commit share the next.

    What comes to an idle service is written at once, by itself. A commit takes as long for fifty documents as
    for one, so that the busier the service, the less each of them costs. After one for several, the next one
    may be put off for a moment: see `Tempo`.
    """

    def __init__(self) -> None:
        self._grouped = Grouped(
            _accepted,
            at_most=GROUP_BYTES,
            weigh=lambda new: max(new.size_bytes, LEAST_BYTES),
            tempo=Tempo(),
        )

    async def accept(self, new: NewDocument) -> Accepted:
        """Make the document durable, or find the one that it is already; see `acceptance.accept`."""
        return await self._grouped(new) or await acceptance.accept(new)


async def _accepted(group: Sequence[NewDocument]) -> Sequence[Accepted | None]:
    """What became of each; None for one that the group's statement could not take."""
    try:
        return await acceptance.accept_new(group)
    except Exception as error:  # Each finds out for itself whether it was the one, and waits for no other.
        log.warning("group_not_accepted", documents=len(group), error=str(error) or type(error).__name__)
        return [None] * len(group)
