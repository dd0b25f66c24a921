"""Processes that die, stand still or are stopped."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress

from tests.chaos import history
from tests.chaos.faults.base import (
    EXTRA_S,
    TAMPERED_API,
    TAMPERED_WORKER,
    Fault,
    Figure,
    Run,
    at_least,
    at_most,
    exactly,
)
from tests.chaos.programs import Program, living_in
from tests.chaos.rig import Scale, process_of
from tests.chaos.workload import Item, large_text

#: How long a worker that goes on gets to see that what it has in hand is another's.
PATIENCE_S = 30


async def takeover_figures(
    run: Run, found: Sequence[history.Takeover], bound_s: float, extra_s: float = 0
) -> Sequence[Figure]:
    """The promise is of a free worker; where there is none, a document waits as long as all others do."""
    queue_s = await history.longest_wait(run.rig.database)
    return [
        at_most("back in line", bound_s, max((each.back_s for each in found), default=0)),
        at_most(
            f"taken over (the queue was {queue_s:.1f} s long)",
            bound_s + queue_s + extra_s,
            max((each.taken_s for each in found), default=0),
        ),
    ]


class WorkerKilled(Fault):
    name = "worker-killed"
    told = "SIGKILL to a worker process that has documents in hand, every 5 s"
    worker = TAMPERED_WORKER

    def environment(self, scale: Scale) -> dict[str, str]:
        return {"CHAOS_TAMPER": "slow_embedder", "CHAOS_EMBED_S": "0.1"}

    async def inject(self, run: Run) -> None:
        self.killed: list[tuple[Sequence[history.Held], float]] = []
        await run.pause(5)
        # No longer than new documents come: after that, it would be the same few that lose their worker.
        while not run.posted.is_set():
            # Nobody can take over while nobody lives: how long a worker takes to start is not the question.
            await run.rig.until(lambda: all(worker.is_at_work() for worker in run.rig.workers), 60)
            _, owner = await run.rig.busiest()
            now = time.time()
            if held := await history.held_by(run.rig.database, owner):
                os.kill(process_of(owner), signal.SIGKILL)
                self.killed.append((held, now))
                await run.pause(5)

    async def figures(self, run: Run) -> Sequence[Figure]:
        found = [each for kill in self.killed for each in await history.takeovers(run.rig.database, *kill)]
        # The message that it is sent again with may die with the next worker.
        return [
            at_least("documents held by killed workers", 1, len(found)),
            *await takeover_figures(run, found, run.scale.noticed_s, EXTRA_S),
        ]


class MasterKilled(Fault):
    name = "master-killed"
    told = "SIGKILL to Dramatiq's master, which leaves its worker processes behind"
    kills = 3

    async def inject(self, run: Run) -> None:
        for _ in range(self.kills):
            await run.pause(8)
            program, _ = await run.rig.busiest()
            session, begun = program.session, time.time()
            os.kill(program.master(), signal.SIGKILL)
            await run.rig.until(lambda session=session: not living_in({session}), 60, "orphans live on")
            run.note("orphans", time.time() - begun)

    async def figures(self, run: Run) -> Sequence[Figure]:
        return [at_most("orphans gone", 10, run.worst("orphans"))]


class APIKilled(Fault):
    name = "api-killed"
    told = "the API is killed between COMMIT and send, at exactly that point"
    api = TAMPERED_API
    #: What the reconciler trusts a message for, a sweep, and its pickup.
    claimed_s = 40

    def environment(self, scale: Scale) -> dict[str, str]:
        return {"CHAOS_TAMPER": "death_before_send", "CHAOS_DIE_EVERY": str(max(5, scale.documents // 8))}

    async def inject(self, run: Run) -> None:
        self.deaths = run.rig.folder / "deaths"

    async def figures(self, run: Run) -> Sequence[Figure]:
        died = self.deaths.read_text().split() if self.deaths.exists() else []
        waits = await history.waits_of(run.rig.database, died)
        return [
            at_least("deaths between COMMIT and send", 3, len(died)),
            at_most("claimed", self.claimed_s, max(waits, default=0)),
            exactly("201 or 200 for every document", 0, len(run.client.given_up)),
        ]


class WorkerStopped(Fault):
    name = "worker-stopped"
    told = "SIGSTOP to a worker with all its processes for 60 s, then SIGCONT"
    worker = TAMPERED_WORKER
    workers_needed = 2
    begin_s = 5
    stop_s = 60
    zombie_words = ("lease_lost", "document_abandoned")

    def environment(self, scale: Scale) -> dict[str, str]:
        return {"CHAOS_TAMPER": "slow_embedder", "CHAOS_EMBED_S": "0.2"}

    async def inject(self, run: Run) -> None:
        await run.pause(self.begin_s)
        async with run.rig.standing_still(lambda: self.victim(run)) as stopped:
            self.stopped = stopped
            await run.pause(self.stop_s)
        # It has a document in hand that is somebody else's by now, and the others may be done before it sees.
        with suppress(TimeoutError):
            await run.rig.until(lambda: stopped.program.events(*self.zombie_words), PATIENCE_S)

    async def victim(self, run: Run) -> tuple[Program, str]:
        return await run.rig.busiest()

    async def figures(self, run: Run) -> Sequence[Figure]:
        stopped = self.stopped
        found = await history.takeovers(run.rig.database, stopped.held, stopped.since)
        words = {event["document_id"] for event in stopped.program.events(*self.zombie_words)}
        return [
            at_least("documents held by the stopped worker", 1, len(found)),
            *await takeover_figures(run, found, run.scale.takeover_s),
            at_least("documents that it let go of", 1, len(words)),
        ]


class StorerStopped(WorkerStopped):
    name = "storer-stopped"
    told = "the same in the middle of storing a large document, whose row it has locked"
    begin_s = 0  # It may be stored in less than five.
    document = "stored-slowly"

    def items(self, scale: Scale) -> Sequence[Item]:
        return [large_text(self.document, 3_000_000)]

    async def victim(self, run: Run) -> tuple[Program, str]:
        (self.id,) = await run.rig.until(lambda: run.client.accepted.get(self.document), 60)
        await run.rig.until(lambda: self._is_being_stored(run), 120, "the large document is not being stored")
        return await self._holder(run)

    async def _is_being_stored(self, run: Run) -> bool:
        """Its row is locked, by a transaction that stores chunks and words."""
        return bool(
            await run.rig.database.value(
                """
                SELECT count(*) FROM pg_stat_activity a
                WHERE a.datname = current_database() AND a.query ~* '^[[:space:]]*(COPY|INSERT INTO) "?chunk'
                    AND a.state <> 'idle' AND NOT EXISTS (
                        SELECT FROM documents WHERE id = $1 AND status = 'PROCESSING' FOR UPDATE SKIP LOCKED
                    ) AND EXISTS (SELECT FROM documents WHERE id = $1 AND status = 'PROCESSING')
                """,
                self.id,
            )
        )

    async def _holder(self, run: Run) -> tuple[Program, str]:
        owner = await run.rig.database.value("SELECT lease_owner FROM documents WHERE id = $1", self.id)
        for program in run.rig.workers:
            if process_of(owner) in program.members():
                return program, owner
        raise LookupError(f"{owner} is no worker of ours")


class RollingStop(Fault):
    name = "rolling-stop"
    told = "SIGTERM to the workers, one after the other, every 10 s"
    worker = TAMPERED_WORKER
    stops = 5

    def environment(self, scale: Scale) -> dict[str, str]:
        return {"CHAOS_TAMPER": "slow_embedder", "CHAOS_EMBED_S": "0.1"}

    async def inject(self, run: Run) -> None:
        for number in range(self.stops):
            await run.pause(10)
            program = run.rig.workers[number % len(run.rig.workers)]
            await run.rig.until(lambda program=program: program.is_running, 30)
            program.terminate()
            # Not a second time while it still stops: the end of the run sends one, too.
            await program.ended(60)

    async def figures(self, run: Run) -> Sequence[Figure]:
        failures = await run.rig.database.value("SELECT COALESCE(sum(failures), 0) FROM chaos.history")
        codes = [code for worker in run.rig.workers for code in worker.exit_codes]
        return [
            exactly("failures, over all moves", 0, int(failures)),
            exactly("exit codes of stopped workers", {0}, set(codes)),
            at_least("stops", self.stops, len(codes)),
        ]
