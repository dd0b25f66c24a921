"""How often, and how soon, a call is sent again."""

from __future__ import annotations

import random
from dataclasses import dataclass

#: Of HTTP: the server did not carry it out, and it may do so later.
NOT_DONE = frozenset({429, 503})

#: Somebody between us and the server gave up; what became of the call is not known.
UNKNOWN = frozenset({502, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """Bounded, with pauses that double and are spread, so that many clients do not come back as one.

    Args:
        tries: Of one call, at most. With the defaults they are over after some 8 s of pauses.
        first_pause_s, longest_pause_s: Between two of them.
        longest_wait_s: What `Retry-After` may ask for; when it asks for more, the call fails at once and
            the error says how long.
        wait_for_server: Whether a server that has not answered yet may just be starting. If not, one that
            refuses the very first connection is told at once.
    """

    tries: int = 6
    first_pause_s: float = 0.25
    longest_pause_s: float = 8.0
    longest_wait_s: float = 60.0
    wait_for_server: bool = True

    def pause_s(self, tries: int, *, asked_s: float | None = None) -> float | None:
        """How long to wait after so many tries; None to give up."""
        if tries >= self.tries or (asked_s or 0) > self.longest_wait_s:
            return None
        longest = min(self.first_pause_s * 2 ** (tries - 1), self.longest_pause_s)
        # Whoever says when to come back is believed; a little later, so that not all come at once.
        return (asked_s or 0) + random.uniform(longest / 2, longest)  # noqa: S311  # No secret.
