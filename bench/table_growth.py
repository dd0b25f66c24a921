"""What accepting, working on and sweeping cost PostgreSQL, by how many documents there are already."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import asyncpg

from app.core.broker import QueueState
from app.core.config import Settings
from app.core.database import database
from app.jobs.lanes import Lanes
from app.jobs.reconciler import Reconciler
from app.models import backlog
from app.services.group_commit import GroupCommit
from bench.filling import LEASE_S, OWNER, Texts, fill, ingested, offered
from bench.lines import svg_lines
from bench.report import figure, parser, publish, table
from bench.support import Servers, conditions, servers

SIZES, FULL = (10_000, 100_000), (10_000, 100_000, 1_000_000)
#: In each round.
DOCUMENTS, SWEEPS = 150, 10
ROUNDS = 6
AIM = 1.3

ACCEPT, WORK, SWEEP = "accept", "claim + complete", "sweep"
COSTS = (ACCEPT, WORK, SWEEP)


@dataclass
class Cost:
    """What one of these took in a table of one size."""

    cpu_ms: list[float] = field(default_factory=list)  # Of PostgreSQL's backends, each, by round.
    latencies_ms: list[float] = field(default_factory=list)  # As who asks waits, each.

    @property
    def cpu(self) -> float:
        return statistics.median(self.cpu_ms)

    @property
    def latency(self) -> float:
        return statistics.median(self.latencies_ms)


#: By size, then by name.
Costs = Mapping[int, Mapping[str, Cost]]


class Table:
    """A database with so many documents."""

    def __init__(self, settings: Settings, size: int, space_id: int) -> None:
        self.settings = settings
        self.space_id = space_id
        self.texts = Texts(f"new{size}x")
        self.costs: dict[str, Cost] = defaultdict(Cost)

    async def measure(self, documents: int) -> None:
        """A round: documents are accepted, then swept over, then worked on, one after the other."""
        async with database(self.settings), watching(self.settings.DATABASE_URL) as watch:
            texts = [self.texts.next() for _ in range(documents)]
            ids = [UUID(int=0)] * documents
            commit, sweep = GroupCommit(), await a_sweep()

            async def accept(number: int) -> None:
                ids[number] = (await commit.accept(offered(texts[number]))).document_id

            async def work(number: int) -> None:
                document = await backlog.claim_next(ids[number], owner=OWNER, lease_s=LEASE_S)
                assert document is not None
                assert await document.complete(ingested(texts[number], self.space_id))

            await watch.each(accept, documents, self.costs[ACCEPT])
            await watch.each(sweep, SWEEPS, self.costs[SWEEP])
            await watch.each(work, documents, self.costs[WORK])


async def a_sweep() -> Callable[[int], Awaitable[None]]:
    """One of a reconciler whose queue has lost nothing."""
    queue = QueueState(waiting=0, emptied_at=await backlog.now() - timedelta(days=1))

    async def nothing_is_due() -> bool:
        return False

    reconciler = Reconciler(
        send=lambda _: None,
        look=lambda: queue,
        mark=lambda moment: moment,
        work_on_next=nothing_is_due,
        lanes=Lanes(),
        myself=lambda: "bench",
        every_s=5,
        backoff_s=10,
    )

    async def sweep(_: int) -> None:
        assert not await reconciler.sweep()

    return sweep


class Watch:
    """Reads the processor time of a database's backends."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def each(self, do: Callable[[int], Awaitable[None]], times: int, cost: Cost) -> None:
        """Do it so many times, and note what that cost."""
        before = await self._cpu_ms()
        for number in range(times):
            begun = time.perf_counter()
            await do(number)
            cost.latencies_ms.append(1000 * (time.perf_counter() - begun))
        cost.cpu_ms.append((await self._cpu_ms() - before) / times)

    async def _cpu_ms(self) -> float:
        rows = await self._connection.fetch(
            "SELECT pid FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND datname = current_database()"
            " AND pid <> pg_backend_pid()"
        )
        return sum(on_processor_ms(row["pid"]) for row in rows)


def on_processor_ms(pid: int) -> float:
    """Counted in nanoseconds, where /proc/PID/stat has ticks of ten milliseconds."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e6


@asynccontextmanager
async def watching(database_url: str) -> AsyncIterator[Watch]:
    connection = await asyncpg.connect(database_url)
    try:
        yield Watch(connection)
    finally:
        await connection.close()


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--sizes", type=int, nargs="+", help=f"{SIZES}, with --full {FULL}")
    arguments.add_argument("--rounds", type=int, default=ROUNDS)
    asked = arguments.parse_args()
    sizes = asked.sizes or (FULL if asked.full else SIZES)
    setting = (
        f"{DOCUMENTS} documents of a chunk each, {asked.rounds} rounds in turn over tables that have"
        f" {', '.join(f'{size:,}' for size in sizes)} COMPLETED documents; {conditions()}"
    )
    with servers() as on:
        costs = measured(on, sizes, rounds=asked.rounds)
    publish(
        asked,
        "bench.table_growth",
        text="\n".join([setting, summary(costs), compared(costs)]),
        markdown="\n\n".join(
            [f"{setting}.", f"![{TITLE}](images/table_growth.svg)", summary(costs), compared(costs)]
        ),
        figures={size: {name: vars(cost) for name, cost in each.items()} for size, each in costs.items()},
        pictures={"table_growth.svg": picture(costs)},
    )


def measured(on: Servers, sizes: Sequence[int], *, rounds: int) -> Costs:
    """All rounds, the sizes in turn; one before them warms up."""
    tables = {size: filled(on, size) for size in sizes}
    for number in range(rounds + 1):
        for one in tables.values():
            if number == 1:
                one.costs.clear()
            asyncio.run(one.measure(DOCUMENTS))
    return {size: one.costs for size, one in tables.items()}


def filled(on: Servers, size: int) -> Table:
    begun = time.monotonic()
    settings = Settings(DATABASE_URL=on.new_database_url(), REDIS_URL=on.redis_url)
    space_id = asyncio.run(fill(settings, size))
    print(f"{size:,} documents after {time.monotonic() - begun:.0f} s", file=sys.stderr)
    return Table(settings, size, space_id)


# --- Telling ------------------------------------------------------------------------------------------------

TITLE = "PostgreSQL's CPU ms for each, by documents in the table"


def summary(costs: Costs) -> str:
    """In Markdown, by size."""
    head = ["documents"]
    head += [f"{name}, {what}" for name in COSTS for what in ("CPU ms", "p50 ms")]
    rows = [
        [f"{size:,}", *(figure(value) for name in COSTS for value in (each[name].cpu, each[name].latency))]
        for size, each in costs.items()
    ]
    return table(head, rows)


def compared(costs: Costs) -> str:
    """The dearest size beside the first."""
    smallest, *_ = costs.values()
    ratios = {name: max(each[name].cpu for each in costs.values()) / smallest[name].cpu for name in COSTS}
    told = ", ".join(f"{ratio:.2f} times for {name}" for name, ratio in ratios.items())
    grown = [name for name, ratio in ratios.items() if ratio > AIM]
    return (
        f"At the most, the processor time of the smallest table becomes {told}; the aim is {AIM} times:"
        f" {'missed by ' + ', '.join(grown) if grown else 'it is met'}."
    )


def picture(costs: Costs) -> str:
    return svg_lines(
        TITLE, list(costs), {name: [each[name].cpu for each in costs.values()] for name in COSTS}
    )


if __name__ == "__main__":
    main()
