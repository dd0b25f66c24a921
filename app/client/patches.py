"""Merge patches (RFC 7396), in which None takes a name away and objects are merged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def is_applied(patch: Mapping[str, Any], target: Mapping[str, Any]) -> bool:
    """Whether the target is as the patch makes it."""
    for name, value in patch.items():
        if value is None:
            if name in target:
                return False
        elif isinstance(value, Mapping):
            if not isinstance(target.get(name), Mapping) or not is_applied(value, target[name]):
                return False
        elif target.get(name) != value:
            return False
    return True
