"""A short run of `./sluice chaos`: few documents, short leases, the most telling faults and both controls."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.chaos.faults import FAULTS
from tests.chaos.report import Outcome, table
from tests.chaos.rig import Scale, Servers
from tests.chaos.runner import run_fault, run_golden
from tests.chaos.workload import workload

FENCE_OFF, RECONCILER_OFF = "control-fence-off", "control-reconciler-off"
HOLDS = ("worker-killed", "commit-reply-lost")

# Seconds of leeway: these tests ask whether the promise holds, and a busy machine is not what breaks it. How
# fast it is made good, `./sluice chaos` says.
SCALE = Scale(documents=40, lease_s=3, beat_s=1, sweep_s=0.5, over_s=5, fsync=False, workers=1, leeway_s=30)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Outcome]:
    return asyncio.run(run_all_at_once(tmp_path_factory.mktemp("chaos")))


async def run_all_at_once(folder: Path) -> Mapping[str, Outcome]:
    """Beside each other, as each spends most of its time waiting for a lease to run out."""
    names = (*HOLDS, FENCE_OFF, RECONCILER_OFF)
    async with Servers(folder, fsync=SCALE.fsync) as servers:
        golden = await run_golden(servers, SCALE, workload(SCALE.documents), print)
        runs = (run_fault(FAULTS[name](), servers, SCALE, golden, print) for name in names)
        return dict(zip(names, await asyncio.gather(*runs), strict=True))


@pytest.mark.parametrize("name", HOLDS)
def test_the_promise_holds_whatever_breaks(name: str, outcomes: Mapping[str, Outcome]) -> None:
    assert outcomes[name].is_as_wanted, table([outcomes[name]])


@pytest.mark.parametrize(
    ("name", "violations"),
    [
        # Which of them a zombie leaves depends on who wrote last: it, or the worker that had taken over.
        (
            FENCE_OFF,
            {
                "a final move by a worker that did not hold the document",
                "other chunks than in the golden run",
                "chunks of another version than the indexed one",
            },
        ),
        (RECONCILER_OFF, {"accepted without a final state"}),
    ],
)
def test_a_mechanism_that_is_switched_off_is_missed(
    name: str, violations: set[str], outcomes: Mapping[str, Outcome]
) -> None:
    found = {violation.what for violation in outcomes[name].violations}
    assert found & violations, table([outcomes[name]])
