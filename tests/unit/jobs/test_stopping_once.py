"""Signals to stop that come more than once, at whatever moment."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

from app.jobs.worker import _stop_once

SIGNALS = (signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def asked() -> Iterator[list[int]]:
    """The signals that Dramatiq's handler is told of; each time, the next comes in the middle of it."""
    told: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        told.append(number)
        if len(told) < 3:
            signal.raise_signal(signal.SIGHUP)

    before: dict[signal.Signals, Any] = {each: signal.signal(each, stop) for each in SIGNALS}
    yield told
    for each, handler in before.items():
        signal.signal(each, handler)


def test_a_worker_is_stopped_once_however_often_it_is_asked_to(asked: list[int]) -> None:
    _stop_once()
    handle: Any = signal.getsignal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)
    handle(signal.SIGTERM, None)  # Of a signal that came before the first one's handler had done anything.
    assert asked == [signal.SIGTERM]
