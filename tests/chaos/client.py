"""A client as the README advises it: what got no answer, or a 503, is sent again with the same body."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import httpx

from tests.chaos.workload import SEED, Item, Post

AT_ONCE = 16
NO_ANSWER_PAUSE_S = 0.5
GIVE_UP_S = 240


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one request."""

    begun_at: float  # As time.time() counts.
    latency_s: float
    status: int | None  # None: no answer.


class Client:
    """Posts items, at most `AT_ONCE` at a time, and keeps count of everything."""

    def __init__(self, url: str) -> None:
        self._http = httpx.AsyncClient(
            base_url=url,
            timeout=30,
            trust_env=False,
            limits=httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE),
        )
        self.answers: list[Answer] = []
        self.accepted: defaultdict[str, set[UUID]] = defaultdict(set)
        self.created = 0
        self.given_up: list[str] = []
        self._free = asyncio.Semaphore(AT_ONCE)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    @property
    def ids(self) -> list[UUID]:
        """Of all that was answered 201 or 200."""
        return [document_id for ids in self.accepted.values() for document_id in ids]

    async def post_all(self, items: Sequence[Item], *, over_s: float) -> None:
        """Begin an item every `over_s / len(items)` seconds, however long the ones before take."""
        rng = random.Random(SEED)
        begun = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            for number, item in enumerate(items):
                due = begun + over_s * number / len(items)
                await asyncio.sleep(due - asyncio.get_running_loop().time())
                group.create_task(self.post(item, pause_s=rng.uniform(0, over_s / 15)))

    async def post(self, item: Item, *, pause_s: float = 0) -> None:
        """Post an item's versions, one after the other."""
        for number, post in enumerate(item.posts):
            if number:
                await asyncio.sleep(
                    pause_s
                )  # Some updates meet the version before at work, some find it done.
            async with self._free:
                await self._persist(item.key, post)

    async def _persist(self, key: str, post: Post) -> None:
        deadline = time.monotonic() + GIVE_UP_S
        while time.monotonic() < deadline:
            answer = await self._send(post)
            if answer is not None and answer.is_success:
                self.accepted[key].add(UUID(answer.json()["document_id"]))
                self.created += answer.status_code == httpx.codes.CREATED
                return
            if answer is not None and answer.is_client_error:
                break
            await asyncio.sleep(
                NO_ANSWER_PAUSE_S if answer is None else float(answer.headers.get("retry-after", 1))
            )
        self.given_up.append(key)

    async def _send(self, post: Post) -> httpx.Response | None:
        begun_at, begun = time.time(), time.perf_counter()
        answer = None
        with contextlib.suppress(httpx.TransportError):
            answer = await self._http.post("/ingest", **post.request())
        self.answers.append(
            Answer(begun_at, time.perf_counter() - begun, None if answer is None else answer.status_code)
        )
        return answer

    def statuses(self) -> Counter[int | None]:
        return Counter(answer.status for answer in self.answers)

    def latency_s(self, share: float, *, since: float = 0, until: float = float("inf")) -> float:
        """The latency that so great a share of the answers stayed below; of requests begun in a time."""
        latencies = sorted(a.latency_s for a in self.answers if since <= a.begun_at <= until)
        return latencies[min(len(latencies) - 1, int(share * len(latencies)))] if latencies else 0.0
