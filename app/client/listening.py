"""What comes from a server while a body is still on its way to it, and what that means for the rest of it."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator

#: Between two of these, we look for an answer; calls that are smaller are sent without.
BLOCK_BYTES = 64 * 1024

#: Of an answer that comes early; what is more waits in the socket.
HEARD_BYTES = 1024 * 1024

#: Perhaps behind interim answers, which say nothing yet. One of success goes on while the body does: a
#: batch is told item by item.
REFUSAL = re.compile(rb"(?:HTTP/1\.1 1.*?\r\n\r\n)*HTTP/1\.[01] [45]", re.DOTALL)
HEAD_BYTES = 4 * 1024


class Heard:
    """The bytes of an answer that came before it was asked for."""

    def __init__(self) -> None:
        self._blocks: deque[bytes] = deque()
        self._size_bytes = 0
        self._head = b""
        #: There is an end, or a refusal: what is not sent yet is sent for nothing.
        self.is_over = False

    def add(self, block: bytes) -> None:
        """The next ones; none when there will be no more."""
        self._blocks.append(block)
        self._size_bytes += len(block)
        if len(self._head) < HEAD_BYTES:
            self._head += block
        self.is_over = not block or REFUSAL.match(self._head) is not None

    @property
    def is_enough(self) -> bool:
        return self.is_over or self._size_bytes >= HEARD_BYTES

    def take(self, max_bytes: int) -> bytes | None:
        """The first of them, empty at the end of all; None when there are none left."""
        if not self._blocks:
            return None
        block = self._blocks.popleft()
        if len(block) > max_bytes:
            self._blocks.appendleft(block[max_bytes:])
        self._size_bytes -= len(block[:max_bytes])
        return block[:max_bytes]


def blocks(buffer: bytes) -> Iterator[bytes]:
    """The same in parts: a document in memory comes as one."""
    for start in range(0, len(buffer), BLOCK_BYTES):
        yield buffer[start : start + BLOCK_BYTES]
