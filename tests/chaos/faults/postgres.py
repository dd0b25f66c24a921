"""A database that goes away, ends connections, loses replies or keeps everybody waiting."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from tests.chaos import history
from tests.chaos.database import connect
from tests.chaos.faults.base import TAMPERED_WORKER, Fault, Figure, Run, at_least, at_most, exactly
from tests.chaos.proxy import Loss, PostgresProxy
from tests.chaos.rig import Scale, with_port

#: What was noted as sent, and was not, is sent again after a minute at the latest, by the next sweep.
LONGEST_WAIT_S = 70


def only_503(run: Run) -> Figure:
    """While the database is away, clients are told so, and nothing else."""
    others = [
        a.status for a in run.client.answers if a.status is not None and a.status >= 400 and a.status != 503
    ]
    return exactly("answers that are errors, but not 503", 0, len(others))


def none_given_up(run: Run) -> Figure:
    """Workers lose their lifelines with all other connections, and tie others in time."""
    return exactly("living workers given up", 0, len(run.rig.worker_events("worker_lost")))


class PostgresRestarted(Fault):
    name = "postgres-restarted"
    told = "PostgreSQL is stopped at once (immediate shutdown) and started again, five times"
    times = 5

    async def inject(self, run: Run) -> None:
        server = run.rig.servers.postgres
        for _ in range(self.times):
            await run.pause(8)
            os.kill(server.pid or 0, signal.SIGQUIT)
            await run.rig.until(lambda: not server.is_running, 30)
            await run.pause(1)
            await asyncio.to_thread(server.restart)

    async def figures(self, run: Run) -> Sequence[Figure]:
        return [
            none_given_up(run),
            only_503(run),
            exactly("documents not accepted in the end", 0, len(run.client.given_up)),
        ]


class BackendsTerminated(Fault):
    name = "backends-terminated"
    told = "every connection of the application is ended (pg_terminate_backend), all over again for 30 s"
    lasts_s = 30

    async def inject(self, run: Run) -> None:
        await run.pause(5)
        end = time.time() + run.scale.seconds(self.lasts_s)
        while time.time() < end:
            rows = await run.rig.database.rows(
                """
                SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND application_name = 'sluice'
                """
            )
            run.note("ended", *(1 for _ in rows))
            await run.pause(1)

    async def figures(self, run: Run) -> Sequence[Figure]:
        return [
            at_least("connections ended", 10, len(run.notes["ended"])),
            none_given_up(run),
            only_503(run),
            exactly("documents not accepted in the end", 0, len(run.client.given_up)),
        ]


class CommitReplyLost(Fault):
    name = "commit-reply-lost"
    told = "statements are committed, and the connection ends before the reply comes"
    losses = (
        Loss("accept", b"INSERT INTO documents", every=10),
        Loss("claim", b"lease_owner = $1", every=40),
        Loss("commit", b"COMMIT", every=8),
        Loss("beat", b"FROM unnest($2::uuid[]", every=15),
        Loss("send again", b"sends = sends + 1", every=3),
    )

    @asynccontextmanager
    async def proxy(self) -> AsyncIterator[Callable[[str], str]]:
        async with PostgresProxy(self.losses) as self.between:
            yield self._through

    def _through(self, url: str) -> str:
        self.between.lead_to(url)
        return with_port(url, self.between.port)

    async def inject(self, run: Run) -> None:
        self.between.is_armed = True
        await run.posted.wait()
        # For ever, the reply to every third "send again" would fall on the same few documents.
        self.between.is_armed = False
        run.note("ended", time.time())

    async def figures(self, run: Run) -> Sequence[Figure]:
        lost = self.between.lost
        last = await history.last_move(run.rig.database)
        return [
            at_least("replies to accepting INSERTs lost", 1, lost["accept"]),
            at_least("replies to claims lost", 1, lost["claim"]),
            at_least("replies to COMMITs lost", 1, lost["commit"]),
            at_least("replies to beats, and to sweeps, lost", 1, lost["beat"] + lost["send again"]),
            only_503(run),
            at_most("all final after the last loss", LONGEST_WAIT_S, last - run.notes["ended"][0]),
            exactly("documents not accepted in the end", 0, len(run.client.given_up)),
        ]


class PoolExhausted(Fault):
    name = "pool-exhausted"
    told = "two connections in each pool, and both wait for a lock, longer than a lease"
    worker = TAMPERED_WORKER
    holds = 2
    #: Shorter than the limit of a statement, which is 30 s; so a lease has to be shorter, too.
    lock_s = 20
    lease_s = 10

    def environment(self, scale: Scale) -> dict[str, str]:
        return {
            "DATABASE_POOL_SIZE": "2",
            "CHAOS_TAMPER": "slow_embedder",
            "CHAOS_EMBED_S": "0.5",
            "LEASE_S": f"{scale.seconds(self.lease_s)}",
            "BEAT_S": f"{scale.seconds(self.lease_s / 3)}",
        }

    async def inject(self, run: Run) -> None:
        url = run.rig.servers.postgres.url_for(run.rig.name)
        for _ in range(self.holds):
            await run.pause(5)
            await run.rig.busiest()
            locker = await connect(url)
            try:
                await locker.execute("BEGIN; LOCK TABLE chunks IN SHARE MODE")
                run.note("locked", time.time())
                await run.pause(self.lock_s)
                blocked = await run.rig.database.value(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                    " AND wait_event_type = 'Lock'"
                )
                run.note("waiting", blocked)
            finally:
                with suppress(Exception):
                    await locker.execute("ROLLBACK")
                locker.terminate()

    async def figures(self, run: Run) -> Sequence[Figure]:
        reaped = await run.rig.database.value(
            "SELECT count(*) FROM chaos.history WHERE was = 'PROCESSING' AND status IN ('PENDING', 'FAILED')"
            " AND failures > 0"
        )
        lost = run.rig.worker_events("lease_expired", "beat_failed")
        return [
            at_least("connections that waited for the lock", 1, int(run.worst("waiting"))),
            exactly("leases lost", 0, len(lost)),
            none_given_up(run),
            exactly("failures counted", 0, reaped),
        ]
