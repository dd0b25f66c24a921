"""What waits, for asyncio. Written by hand, like its counterpart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

sleep = asyncio.sleep


async def beside(work: Callable[[], T]) -> T:
    """Do something that may take a moment, without holding others up."""
    return await asyncio.to_thread(work)
