"""Runs faults one after the other, each on a fresh database, and judges them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from tests.chaos import history
from tests.chaos.client import Client
from tests.chaos.faults.base import API, WORKER, Fault, Run
from tests.chaos.invariants import Expected, Violation, digests, violations
from tests.chaos.report import Outcome
from tests.chaos.rig import Rig, Scale, Servers
from tests.chaos.workload import Item, workload

STOP_S = 40
LOOK_AGAIN_S = 0.25
NEVER_S = 900

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Golden:
    """What a run without faults made of the documents."""

    digests: Mapping[str, str]  # By key.
    longest_wait_s: float
    seconds: float


async def run_golden(servers: Servers, scale: Scale, items: Sequence[Item], say: Say) -> Golden:
    """The documents as they should be.

    Raises:
        AssertionError: Something is wrong without any fault.
    """
    begun = time.monotonic()
    rig = Rig(servers, scale, name="golden", api=API, worker=WORKER, environment={}, workers=scale.workers)
    async with rig, Client(rig.url) as client:
        await client.post_all(items, over_s=scale.over_s)
        await _wait_until_final(rig, client, patience_s=60)
        found = await violations(rig.database, Expected(client.ids, {}, ()))
        by_id = await digests(rig.database)
        longest_wait_s = await history.longest_wait(rig.database)
        exit_codes = await _stop(rig)
    made = {
        key: by_id[document_id]
        for key, ids in client.accepted.items()
        for document_id in ids
        if document_id in by_id
    }
    seconds = time.monotonic() - begun
    say(
        f"golden run: {len(made)} documents, {seconds:.0f} s, longest wait for a claim {longest_wait_s:.1f} s"
    )
    assert not found, f"wrong without any fault: {'; '.join(map(str, found))}"
    assert not rig.orphans, "processes were left behind without any fault"
    assert set(exit_codes) == {0}, f"exit codes without any fault: {exit_codes}"
    assert len(made) == len({item.key for item in items}), "not all are COMPLETED without any fault"
    return Golden(made, longest_wait_s, seconds)


async def run_fault(fault: Fault, servers: Servers, scale: Scale, golden: Golden, say: Say) -> Outcome:
    """One fault, from an empty database to a verdict."""
    begun = time.monotonic()
    items = _mixed(workload(fault.documents(scale)), fault.items(scale))
    outcome = Outcome(fault.name, fault.told, fault.is_control, len({item.key for item in items}))
    async with AsyncExitStack() as opened:
        through = await opened.enter_async_context(fault.proxy())
        rig = Rig(
            servers,
            scale,
            name=fault.name,
            api=fault.api,
            worker=fault.worker,
            environment=fault.environment(scale),
            workers=max(scale.workers, fault.workers_needed),
            through=through,
        )
        await opened.enter_async_context(rig)
        client = await opened.enter_async_context(Client(rig.url))
        run = Run(rig, client, scale, golden.longest_wait_s, say)
        async with asyncio.TaskGroup() as group:
            group.create_task(_post(run, items), name="posting")
            group.create_task(fault.inject(run), name="injecting")
        say(f"{fault.name}: {len(client.ids)} accepted, answers {_told(client)}")
        await _wait_until_final(rig, client, patience_s=fault.patience_s(scale))
        outcome.violations = await violations(rig.database, _expected(client, items, golden))
        outcome.figures = list(await fault.figures(run))
        exit_codes = await _stop(rig)
        if not fault.is_control and set(exit_codes) != {0}:
            outcome.violations.append(Violation(f"a worker that did not stop well: {exit_codes}", 1))
    if rig.orphans:
        outcome.violations.append(Violation("a process that outlived its master", len(rig.orphans)))
    outcome.seconds = time.monotonic() - begun
    outcome.notes.append(
        f"{outcome.seconds:.0f} s; answers {_told(client)}; POST p99 {client.latency_s(0.99):.2f} s"
    )
    return outcome


async def run_all(
    faults: Sequence[Fault], scale: Scale, folder: Path, say: Say, *, tell: Callable[[Outcome], None]
) -> list[Outcome]:
    """The golden run, then each fault; one that breaks the harness itself is an outcome, too."""
    outcomes = []
    async with Servers(folder, fsync=scale.fsync) as servers:
        extra = [item for fault in faults for item in fault.items(scale) if not item.codes]
        items = _mixed(workload(scale.documents), list({item.key: item for item in extra}.values()))
        golden = await run_golden(servers, scale, items, say)
        for fault in faults:
            say(f"{fault.name}: {fault.told}")
            try:
                outcome = await run_fault(fault, servers, scale, golden, say)
            except Exception as error:
                outcome = Outcome(
                    fault.name, fault.told, violations=[Violation(f"no verdict: {_reason(error)}", 1)]
                )
                await _mend(servers)
            outcomes.append(outcome)
            tell(outcome)
    return outcomes


async def _post(run: Run, items: Sequence[Item]) -> None:
    await run.client.post_all(items, over_s=run.scale.over_s)
    run.posted.set()


def _mixed(items: Sequence[Item], extra: Sequence[Item]) -> list[Item]:
    """The extra ones spread over the first half, so that there is time to see what they do."""
    mixed = list(items)
    for number, item in enumerate(extra):
        mixed.insert(number * len(items) // (2 * len(extra)) + number, item)
    return mixed


def _expected(client: Client, items: Sequence[Item], golden: Golden) -> Expected:
    codes = {item.key: item.codes for item in items}
    wanted: dict[UUID, str] = {}
    may_fail: list[tuple[UUID, str]] = []
    for key, ids in client.accepted.items():
        for document_id in ids:
            if codes[key]:
                may_fail += [(document_id, code) for code in codes[key]]
            else:
                wanted[document_id] = golden.digests[key]
    return Expected(client.ids, wanted, may_fail)


async def _wait_until_final(rig: Rig, client: Client, *, patience_s: float) -> None:
    """Until everything is final; or, with no move for so long, until it is clear that it never will be."""
    begun = moved_at = time.monotonic()
    seen = -1
    while time.monotonic() - begun < NEVER_S:
        pending = await rig.database.value(
            "SELECT count(*) FROM documents WHERE status NOT IN ('COMPLETED', 'FAILED')"
        )
        if not pending:
            return
        moves = await history.moves(rig.database)
        if moves != seen:
            seen, moved_at = moves, time.monotonic()
        elif time.monotonic() - moved_at > patience_s:
            return
        await asyncio.sleep(LOOK_AGAIN_S)


async def _stop(rig: Rig) -> list[int | None]:
    """SIGTERM to the workers, and how they ended; those that had to be waited for too long as None."""
    for worker in rig.workers:
        worker.is_kept = False
        worker.terminate()
    return [await worker.ended(STOP_S) for worker in rig.workers]


async def _mend(servers: Servers) -> None:
    """After a fault that did not end well, the servers have to serve the next."""
    for server in (servers.postgres, servers.valkey):
        await asyncio.to_thread(server.restart)


def _told(client: Client) -> str:
    counts = sorted(client.statuses().items(), key=lambda pair: pair[0] or 0)
    return ", ".join(f"{status or 'none'}: {count}" for status, count in counts)


def _reason(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"
