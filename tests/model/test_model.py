"""A short game with the state machine, and the control that shows that it would notice."""

from __future__ import annotations

import pytest

from app.core.config import Settings
from tests.model.running import explore, machine, no_fence


def test_no_order_of_events_breaks_a_promise(settings: Settings, migrated: None) -> None:
    with machine(settings) as kind:
        explore(kind, first_seed=1, runs=40)

    assert kind.counts["documents"] >= 40 * 3


def test_without_the_fence_an_order_of_events_is_found_that_breaks_one(
    settings: Settings, migrated: None
) -> None:
    with machine(settings) as kind, no_fence(), pytest.raises(AssertionError, match="violated"):
        explore(kind, first_seed=1, runs=100)
