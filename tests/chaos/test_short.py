"""A short run of `./sluice chaos`: few documents, short leases, the most telling faults and both controls."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.chaos.faults import FAULTS
from tests.chaos.faults.base import Fault
from tests.chaos.report import Outcome, table
from tests.chaos.rig import Scale, Servers
from tests.chaos.runner import Golden, run_fault, run_golden
from tests.chaos.workload import workload

# Seconds of leeway: these tests ask whether the promise holds, and a busy machine is not what breaks it. How
# fast it is made good, `./sluice chaos` says.
SCALE = Scale(documents=60, lease_s=3, beat_s=1, sweep_s=0.5, over_s=5, fsync=False, leeway_s=30)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    servers = Servers(tmp_path_factory.mktemp("chaos"), fsync=SCALE.fsync)
    with asyncio.Runner() as runner:
        runner.run(servers.__aenter__())
        yield servers
        runner.run(servers.__aexit__())


@pytest.fixture(scope="module")
def golden(servers: Servers) -> Golden:
    return asyncio.run(run_golden(servers, SCALE, workload(SCALE.documents), print))


def outcome_of(fault: Fault, servers: Servers, golden: Golden) -> Outcome:
    return asyncio.run(run_fault(fault, servers, SCALE, golden, print))


@pytest.mark.parametrize("name", ["worker-killed", "worker-stopped", "redis-emptied", "commit-reply-lost"])
def test_the_promise_holds_whatever_breaks(name: str, servers: Servers, golden: Golden) -> None:
    outcome = outcome_of(FAULTS[name](), servers, golden)
    assert outcome.is_as_wanted, table([outcome])


def test_without_the_fence_a_zombie_writes_and_is_found_out(servers: Servers, golden: Golden) -> None:
    outcome = outcome_of(FAULTS["control-fence-off"](), servers, golden)
    found = [violation.what for violation in outcome.violations]
    assert "a final move by a worker that did not hold the document" in found, table([outcome])


def test_without_the_reconciler_documents_are_stuck_and_are_found(servers: Servers, golden: Golden) -> None:
    outcome = outcome_of(FAULTS["control-reconciler-off"](), servers, golden)
    found = [violation.what for violation in outcome.violations]
    assert "accepted without a final state" in found, table([outcome])
