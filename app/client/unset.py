"""The difference between nothing said and nothing wanted."""

from __future__ import annotations

from enum import Enum
from typing import Any, Final


class Unset(Enum):
    """Of an argument that stays as it is on the server, where None would remove it."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET


def said(**arguments: Any) -> dict[str, Any]:
    """Those that something was said of."""
    return {name: value for name, value in arguments.items() if not isinstance(value, Unset)}
