"""Documents a second by the number of worker processes, with MiniLM on one thread each.

PostgreSQL, the API and the client share the cores with them: the processor time of each says what the ratio
could be at most.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.cranfield import abstracts
from bench.importing import imported
from bench.processes import API, MASTER, WORKER, api_pid, by_role
from bench.report import Bar, figure, parser, publish, svg_bars, table, text_bars
from bench.support import Servers, conditions, cpu_seconds, servers, service

PROCESSES = (1, 2)
SHORT, FULL = 400, 1300
#: So that each worker has its model and parsers up and its statements prepared.
WARM_UP = 40
ROUNDS = 3
SETTINGS = {"EMBEDDER_THREADS": "1", "LOG_LEVEL": "WARNING"}
POSTGRES, CLIENT = "PostgreSQL", "client"
TOLD = (WORKER, POSTGRES, API, CLIENT)


class Run(NamedTuple):
    """One import by so many worker processes."""

    per_s: float
    cpu_ms: Mapping[str, float]  # For each document, by who took it; parsers are the workers'.
    others: float  # Cores that programs beside this bench had meanwhile: with them, the rate says little.

    @property
    def total_ms(self) -> float:
        return sum(self.cpu_ms.values())


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--documents", type=int, help=f"{SHORT}, with --full {FULL:,}")
    arguments.add_argument("--rounds", type=int, default=ROUNDS)
    arguments.add_argument("--processes", type=int, nargs="+", default=PROCESSES, help="by default 1 2")
    arguments.add_argument("--embedder", default="minilm", help="by default minilm")
    asked = arguments.parse_args()
    count = asked.documents or (FULL if asked.full else SHORT)
    texts = abstracts(WARM_UP + count)
    setting = (
        f"{count:,} Cranfield abstracts in one batch, `{asked.embedder}` on one thread a process,"
        f" {asked.rounds} alternating rounds; {conditions()}"
    )
    settings = SETTINGS | {"EMBEDDER": asked.embedder}
    with servers() as on:
        runs = measured(on, texts, processes=asked.processes, settings=settings, rounds=asked.rounds)
    publish(
        asked,
        "bench.workers",
        text="\n".join([setting, text_bars(TITLE, bars(runs)), summary(runs), compared(runs)]),
        markdown="\n\n".join(
            [f"{setting}.", f"![{TITLE}](images/workers.svg)", summary(runs), compared(runs)]
        ),
        figures={processes: [run._asdict() for run in each] for processes, each in runs.items()},
        pictures={"workers.svg": svg_bars(TITLE, bars(runs))},
    )


def measured(
    on: Servers, texts: Sequence[str], *, processes: Sequence[int], settings: Mapping[str, str], rounds: int
) -> dict[int, list[Run]]:
    """All runs of each number of processes; every other round begins with the most."""
    runs: dict[int, list[Run]] = {number: [] for number in processes}
    for turn in range(rounds):
        for number in processes[:: 1 if turn % 2 == 0 else -1]:
            run = measured_once(on, texts, processes=number, settings=settings)
            runs[number].append(run)
            told = f"{run.per_s:.1f}/s, {run.total_ms:.1f} ms of CPU each, others {run.others:.2f} cores"
            print(f"round {turn + 1}, {number}: {told}", file=sys.stderr)
    return runs


def measured_once(on: Servers, texts: Sequence[str], *, processes: int, settings: Mapping[str, str]) -> Run:
    """The texts into a database of their own."""
    database_url = on.new_database_url()
    urls = {"DATABASE_URL": database_url, "REDIS_URL": on.emptied_redis_url()}
    try:
        with service(workers=processes, settings={**settings, **urls}) as stack:
            url = stack.options.url
            asyncio.run(imported(stack, [{"text": text} for text in texts[:WARM_UP]]))
            items = [{"text": text} for text in texts[WARM_UP:]]
            before, others_before = cpu_by_role(on, url), others_seconds()
            seconds = asyncio.run(imported(stack, items)).completed_s
            after, others_after = cpu_by_role(on, url), others_seconds()
    finally:
        on.drop(database_url)
    count = len(texts) - WARM_UP
    cpu_ms = {name: 1000 * (after[name] - before[name]) / count for name in TOLD}
    return Run(count / seconds, cpu_ms, (others_after - others_before) / seconds)


def cpu_by_role(on: Servers, url: str) -> dict[str, float]:
    """Seconds that each has used so far."""
    (master,) = (pid for pid, role in by_role().items() if role == MASTER)
    times = os.times()
    return {
        WORKER: cpu_seconds(master),
        POSTGRES: on.cpu_seconds(),
        API: cpu_seconds(api_pid(url)),
        CLIENT: times.user + times.system,
    }


def others_seconds() -> float:
    """Processor time of all that is not below this process, and what a hypervisor gave to other machines."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields)
    all_s = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    return all_s - cpu_seconds(os.getpid())


# --- Telling ------------------------------------------------------------------------------------------------

TITLE = "Documents a second by worker processes"


def bars(runs: Mapping[int, Sequence[Run]]) -> list[Bar]:
    return [Bar(named(number), [run.per_s for run in each], True) for number, each in runs.items()]


def named(processes: int) -> str:
    return "1 process" if processes == 1 else f"{processes} processes"


def summary(runs: Mapping[int, Sequence[Run]]) -> str:
    """Medians over the rounds, in Markdown."""
    head = ["", "documents/s (spread)", *(f"{name}, CPU ms a document" for name in TOLD), "cores of others"]
    rows = [
        [
            bar.label,
            f"{figure(bar.median)} ({bar.spread})",
            *(figure(statistics.median(run.cpu_ms[name] for run in each)) for name in TOLD),
            disturbed(each),
        ]
        for bar, each in zip(bars(runs), runs.values(), strict=True)
    ]
    return table(head, rows)


def disturbed(runs: Sequence[Run]) -> str:
    others = [run.others for run in runs]
    return f"{statistics.median(others):.2f} (up to {max(others):.2f})"


def compared(runs: Mapping[int, Sequence[Run]]) -> str:
    """The ratios to the least number, round by round, and what each could be if no core ever stood still."""
    least = min(runs)
    cores = os.cpu_count() or 1
    sentences = []
    for number in sorted(runs.keys() - {least}):
        pairs = zip(runs[least], runs[number], strict=True)
        ratio = statistics.median(more.per_s / less.per_s for less, more in pairs)
        total_ms = statistics.median(run.total_ms for run in runs[number])
        at_most = cores * 1000 / total_ms / statistics.median(run.per_s for run in runs[least])
        bound = f", and could be {at_most:.2f} times at most" if at_most < number / least else ""
        sentences.append(f"{named(number)} are {ratio:.2f} times as fast as {named(least)}{bound}")
    return (
        f"Round by round, {'; '.join(sentences)}. PostgreSQL, the API and the client share the {cores} cores"
        " with them."
    )


if __name__ == "__main__":
    main()
