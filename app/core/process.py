"""What a process sees to by itself: its end, and its memory."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

#: Objects made between two looks for garbage; Python's own 700 are two requests' worth.
COLLECT_AFTER = 10_000


def last_words(who: str, reason: str) -> int:
    """Say in one sentence, as the last thing in the log, why it ends; the exit code for it."""
    print(f"sluice {who}: {reason}", file=sys.stderr, flush=True)  # noqa: T201
    return os.EX_CONFIG


@contextmanager
def told_of_stop(tell: Callable[[], None]) -> Iterator[None]:
    """Call `tell` on the running loop as soon as this process is told to stop, while the block lasts.

    uvicorn waits for all answers to end before it closes the application: those that have no end would keep
    it for ever. Its own handlers are called after ours.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Signals are not for us.
        return
    loop = asyncio.get_running_loop()
    # What nobody handles ends the process at once.
    handlers = {
        number: handler
        for number in (signal.SIGTERM, signal.SIGINT)
        if callable(handler := signal.getsignal(number))
    }

    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(tell)
        handlers[signal.Signals(number)](number, frame)

    for number in handlers:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def collect_less() -> None:
    """Let the garbage collector leave what has been loaded alone, and look less often at the rest.

    What is loaded stays until the process ends. Otherwise a twentieth of the API's processor time goes there.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)
