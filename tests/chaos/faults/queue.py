"""A queue that forgets, stalls, refuses, lies or repeats itself."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

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
from tests.chaos.rig import Scale

POST_P99_S = 1.0
QUEUE = "sluice:default"


class RedisFlushed(Fault):
    name = "redis-flushed"
    told = "FLUSHALL with messages waiting, three times"
    worker = TAMPERED_WORKER
    times = 3

    def environment(self, scale: Scale) -> dict[str, str]:
        # Slow enough for a queue to build up.
        return {"CHAOS_TAMPER": "slow_embedder", "CHAOS_EMBED_S": "0.5"}

    async def inject(self, run: Run) -> None:
        for _ in range(self.times):
            await run.pause(8)
            await run.rig.until(run.rig.waiting_messages, 60, "no message waits")
            run.note("lost", await run.rig.waiting_messages())
            run.note("emptied", time.time())
            await self.empty(run)

    async def empty(self, run: Run) -> None:
        await run.rig.redis.flushall()

    async def figures(self, run: Run) -> Sequence[Figure]:
        waits = [
            wait
            for moment in run.notes["emptied"]
            for wait in await history.waiting_at(run.rig.database, moment)
        ]
        return [
            at_least("messages lost", 1, int(sum(run.notes["lost"]))),
            at_most(
                "extra wait",
                EXTRA_S + run.scale.leeway_s,
                max(0.0, max(waits, default=0) - run.golden_wait_s),
            ),
        ]


class RedisEmptied(RedisFlushed):
    name = "redis-emptied"
    told = "Redis is killed and started again empty, with messages waiting"
    times = 2

    async def empty(self, run: Run) -> None:
        await asyncio.to_thread(run.rig.servers.empty_valkey)


class RedisDown(Fault):
    name = "redis-down"
    told = "Redis is down for 60 s, and documents fail meanwhile for want of the embedder"
    worker = TAMPERED_WORKER
    down_s = 60.0
    fails_s = 30.0  # Shorter than the six tries take with this backoff.
    backoff_s = 2.0
    some = 3

    def environment(self, scale: Scale) -> dict[str, str]:
        return {"CHAOS_TAMPER": "failing_embedder", "RETRY_BACKOFF_S": f"{scale.seconds(self.backoff_s)}"}

    async def inject(self, run: Run) -> None:
        await run.pause(10)
        await self.fail_for_a_while(run, with_redis=False)

    async def fail_for_a_while(self, run: Run, *, with_redis: bool) -> None:
        """Redis goes down at once, or once there are retries that wait for their time."""
        failing = run.rig.folder / "failing"
        failing.touch()
        if with_redis:
            await run.rig.until(lambda: self._some_wait(run), 60, "nothing waits for a retry")
        await asyncio.to_thread(run.rig.servers.kill_valkey)
        try:
            if not with_redis:
                await run.pause(self.fails_s)
            run.note("waiting for a retry", await self.retries_waiting(run))
            failing.unlink()
            await run.pause(self.down_s - (0 if with_redis else self.fails_s))
        finally:
            failing.unlink(missing_ok=True)
            await asyncio.to_thread(run.rig.servers.valkey.restart)
            run.note("up", time.time())

    async def _some_wait(self, run: Run) -> bool:
        return await self.retries_waiting(run) >= self.some

    async def retries_waiting(self, run: Run) -> int:
        return int(
            await run.rig.database.value(
                "SELECT count(*) FROM documents WHERE status = 'PENDING' AND stage = 'retry_wait'"
            )
        )

    async def figures(self, run: Run) -> Sequence[Figure]:
        failed = await run.rig.database.value("SELECT count(*) FROM documents WHERE status = 'FAILED'")
        last = await history.last_move(run.rig.database)
        statuses = run.client.statuses()
        return [
            at_least("documents that waited for a retry", 1, int(run.worst("waiting for a retry"))),
            exactly("documents lost", 0, failed),
            at_most("all final after Redis is back", EXTRA_S + 60, max(0, last - run.notes["up"][-1])),
            exactly("5xx", 0, sum(count for status, count in statuses.items() if status and status >= 500)),
        ]


class RedisDownWithRetries(RedisDown):
    name = "redis-down-retries"
    told = "Redis is down for 20 s while retries wait in it, and in the workers' memory"
    down_s = 20.0

    async def inject(self, run: Run) -> None:
        await run.pause(10)
        await self.fail_for_a_while(run, with_redis=True)


class RedisStopped(Fault):
    name = "redis-stopped"
    told = "SIGSTOP to Redis for 10 s while documents are posted"
    lasts_s = 10.0

    async def inject(self, run: Run) -> None:
        await run.pause(5)
        run.note("begun", time.time())
        try:
            await self.begin(run)
            await run.pause(self.lasts_s)
        finally:
            await self.end(run)
        run.note("ended", time.time())

    async def begin(self, run: Run) -> None:
        os.kill(run.rig.servers.valkey.pid or 0, signal.SIGSTOP)

    async def end(self, run: Run) -> None:
        os.kill(run.rig.servers.valkey.pid or 0, signal.SIGCONT)

    async def figures(self, run: Run) -> Sequence[Figure]:
        since, until = run.notes["begun"][0], run.notes["ended"][0]
        during = [answer for answer in run.client.answers if since <= answer.begun_at <= until]
        last = await history.last_move(run.rig.database)
        return [
            at_least("posts meanwhile", 5, len(during)),
            at_most(
                "p99 of POST meanwhile", POST_P99_S, run.client.latency_s(0.99, since=since, until=until)
            ),
            exactly(
                "5xx, or no answer", 0, sum(a.status is None or a.status >= 500 for a in run.client.answers)
            ),
            at_most("drained after", EXTRA_S + run.scale.over_s, last - until),
        ]


class RedisFull(RedisStopped):
    name = "redis-full"
    told = "Redis refuses every write for 20 s (maxmemory, noeviction)"
    lasts_s = 20.0

    async def begin(self, run: Run) -> None:
        await run.rig.redis.config_set("maxmemory-policy", "noeviction")
        await run.rig.redis.config_set("maxmemory", "1")

    async def end(self, run: Run) -> None:
        await run.rig.redis.config_set("maxmemory", "0")


class _Payload:
    """Touches a file as soon as it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


class ForgedMessages(Fault):
    name = "messages-forged"
    told = "malformed, pickled and foreign messages between the real ones"
    worker = TAMPERED_WORKER
    rounds = 6

    def environment(self, scale: Scale) -> dict[str, str]:
        return {"CHAOS_TAMPER": "slow_embedder", "CHAOS_EMBED_S": "0.2"}

    async def inject(self, run: Run) -> None:
        self.touched = run.rig.folder / "touched"
        for _ in range(self.rounds):
            await run.pause(5)
            for content in self.forged():
                run.note("forged", 1)
                for queue in (QUEUE, f"{QUEUE}.DQ"):
                    await self._push(run, queue, content)

    async def _push(self, run: Run, queue: str, content: bytes | None) -> None:
        message_id = str(uuid4())
        if content is not None:
            await run.rig.redis.hset(f"{queue}.msgs", message_id, content)  # type: ignore[misc]
        await run.rig.redis.rpush(queue, message_id)  # type: ignore[misc]

    def forged(self) -> list[bytes | None]:
        """Contents of messages; None is an id without one."""
        good: dict[str, object] = {
            "queue_name": "default",
            "actor_name": "process_ingestion",
            "args": ["00000000-0000-0000-0000-000000000000"],
            "kwargs": {},
            "options": {"redis_message_id": "forged"},
            "message_id": "forged",
            "message_timestamp": 1,
        }
        wrong: list[dict[str, object]] = [
            {"actor_name": "rm"},
            {"queue_name": "elsewhere"},
            {"queue_name": 7},
            {"args": []},
            {"args": [{"a": 1}]},
            {"args": ["x" * 100_000]},
            {"args": 7},
            {"args": ["not an id"], "kwargs": {"document_id": "twice"}},
            {"options": None},
            {"options": {}},
            {"options": {"redis_message_id": "forged", "eta": "soon"}},
            {"options": {"redis_message_id": "forged", "eta": 10**30}},
            {"options": {"redis_message_id": "forged", "retries": "many"}},
            {"message_id": ["unhashable"]},
            {"message_timestamp": "yesterday"},
            {"surprise": True},
        ]
        shapes: list[object] = [[], 7, None, "text", {}, {"args": []}]
        return [
            None,
            b"",
            b"\xff\xfe\x00",
            b"{",
            b'{"args": NaN}',
            b"[" * 50_000,
            pickle.dumps(_Payload(self.touched)),
            pickle.dumps(good),
            *(json.dumps(shape).encode() for shape in shapes),
            *(json.dumps(good | change).encode() for change in wrong),
        ]

    async def figures(self, run: Run) -> Sequence[Figure]:
        wait = await history.longest_wait(run.rig.database)
        return [
            at_least("forged messages", 100, int(sum(run.notes["forged"]))),
            exactly("code of theirs that ran", False, self.touched.exists()),
            at_most("neighbours late", EXTRA_S, max(0.0, wait - run.golden_wait_s)),
            exactly("workers that ended", 0, sum(len(worker.exit_codes) for worker in run.rig.workers)),
        ]


class MessagesTripled(Fault):
    name = "messages-tripled"
    told = "every message is sent three times, and what waits in Redis is copied on top"
    api = TAMPERED_API
    worker = TAMPERED_WORKER
    rounds = 20

    def environment(self, scale: Scale) -> dict[str, str]:
        return {"CHAOS_TAMPER": "every_message_three_times,slow_embedder", "CHAOS_EMBED_S": "0.05"}

    async def inject(self, run: Run) -> None:
        for _ in range(self.rounds):
            await run.pause(1.5)
            run.note("copied", *([1] * await self._copy_waiting(run)))

    async def _copy_waiting(self, run: Run) -> int:
        """Both ways in which an entry can be there twice: its id again, or its content under another."""
        redis = run.rig.redis
        waiting = await redis.lrange(QUEUE, 0, 49)  # type: ignore[misc]
        if not waiting:  # The workers are quick: wait beside them for the next one, as they do.
            next_one = await redis.blmove(QUEUE, QUEUE, 1.5, "LEFT", "LEFT")  # type: ignore[misc]
            waiting = [next_one] if next_one is not None else []
        for message_id in waiting:
            content = await redis.hget(f"{QUEUE}.msgs", message_id)  # type: ignore[misc]
            await redis.rpush(QUEUE, message_id)  # type: ignore[misc]
            if content is not None:
                copied_id = str(uuid4())
                message = json.loads(content)
                message["options"]["redis_message_id"] = copied_id
                await redis.hset(f"{QUEUE}.msgs", copied_id, json.dumps(message))  # type: ignore[misc]
                await redis.rpush(QUEUE, copied_id)  # type: ignore[misc]
        return len(waiting)

    async def figures(self, run: Run) -> Sequence[Figure]:
        claims = await run.rig.database.value(
            "SELECT count(*) FROM chaos.history WHERE status = 'PROCESSING'"
        )
        versions = await run.rig.database.value(
            "SELECT count(DISTINCT (document_id, version)) FROM chaos.history WHERE status = 'PROCESSING'"
        )
        return [
            at_least("messages copied in Redis", 1, len(run.notes.get("copied", []))),
            exactly("claims beside one for each version", 0, claims - versions),
        ]
