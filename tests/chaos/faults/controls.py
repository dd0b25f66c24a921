"""Mechanisms switched off: the harness has to notice, or all its other verdicts mean nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

from tests.chaos.faults.base import TAMPERED_WORKER, Fault, Figure, Run, at_least
from tests.chaos.programs import Program
from tests.chaos.rig import Scale, Stopped, process_of


class FenceOff(Fault):
    name = "control-fence-off"
    told = "control: a worker that stood still writes on, though others have its documents"
    worker = TAMPERED_WORKER
    workers_needed = 2
    is_control = True
    rounds = 3

    def documents(self, scale: Scale) -> int:
        # With so slow an embedder, more would be a queue in which nothing has its turn again in time.
        return min(scale.documents, 100)

    def environment(self, scale: Scale) -> dict[str, str]:
        return {
            "CHAOS_TAMPER": "no_fence,slow_embedder",
            "CHAOS_EMBED_S": "2",  # The next worker is still at it when the zombie wakes up.
            # Short ones: the zombie has to wake up just then, and not in half a minute.
            "LEASE_S": "2",
            "BEAT_S": "0.5",
            "SWEEP_S": "0.5",
        }

    async def inject(self, run: Run) -> None:
        for _ in range(self.rounds):
            # In this stage, the zombie needs nothing more to go on to its write.
            worker = run.rig.standing_still(lambda: run.rig.busiest("embedding"), stage="embedding")
            async with worker as stopped:
                await run.rig.until(lambda stopped=stopped: self._is_taken(run, stopped), 60)

    async def _is_taken(self, run: Run, stopped: Stopped) -> bool:
        """Whether another worker has claimed something since, that this one held."""
        return bool(
            await run.rig.database.value(
                """
                SELECT count(*) FROM chaos.moves
                WHERE document_id = ANY($1::uuid[]) AND committed_at > to_timestamp($2)
                    AND status = 'PROCESSING' AND was = 'PENDING'
                """,
                [each.id for each in stopped.held],
                stopped.since,
            )
        )


class ReconcilerOff(Fault):
    name = "control-reconciler-off"
    told = "control: a worker is killed and no worker sweeps"
    worker = TAMPERED_WORKER
    is_control = True

    def patience_s(self, scale: Scale) -> float:
        return 2 * (scale.takeover_s - scale.leeway_s)

    def environment(self, scale: Scale) -> dict[str, str]:
        return {"CHAOS_TAMPER": "no_reconciler,slow_embedder", "CHAOS_EMBED_S": "0.5"}

    async def inject(self, run: Run) -> None:
        await run.pause(5)
        # Stopped first, and looked at: what it has in this stage, it has not completed when it dies.
        chosen: list[str] = []

        async def choose() -> tuple[Program, str]:
            program, owner = await run.rig.busiest("embedding")
            chosen.append(owner)
            return program, owner

        async with run.rig.standing_still(choose, stage="embedding"):
            os.kill(process_of(chosen[-1]), signal.SIGKILL)
        run.note("killed", 1)

    async def figures(self, run: Run) -> Sequence[Figure]:
        return [at_least("workers killed", 1, len(run.notes["killed"]))]
