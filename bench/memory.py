"""How much memory API and worker take, above what they hold idle, while large files are ingested."""

from __future__ import annotations

import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import httpx

from app.core.config import Settings
from bench.large_files import pdf, post, text
from bench.processes import (
    API,
    FORK_SERVER,
    MASTER,
    MEBIBYTE,
    PARSER,
    WORKER,
    by_role,
    peak_bytes,
    reset_peak,
)
from bench.report import Bar, parser, publish, svg_bars, table, text_bars
from bench.support import conditions, service

#: What each may take above what it holds idle.
AIMS_MB = {API: 50, WORKER: 400}
NAMES = ("refused", "indexed", "pages", "at_once")
#: With --full: minutes of work, and the most that comes together while the limits are as they come.
LONG = ("side_by_side",)
TOLD = (API, MASTER, WORKER, FORK_SERVER, PARSER)
#: Parser children come and go: their peaks are read while they live.
LOOK_EVERY_S = 0.1
PATIENCE_S = 7200

#: A file's name and what is in it, block by block.
File = tuple[str, Iterable[bytes]]


@dataclass(frozen=True, kw_only=True)
class Case:
    """Some files that are posted at once, and how they have to end."""

    title: str
    files: Callable[[], Sequence[File]]
    ends: str  # COMPLETED, or the code of the error.
    raised: Mapping[str, int] = field(default_factory=dict)  # Settings that are not as they come.


class Measured(NamedTuple):
    """What a case came to."""

    ends: list[str]
    chunks: int
    seconds: float  # From the first byte of the first file to the last final status.
    above_idle: Mapping[str, int]  # Bytes at the most, of the largest process of each role.

    def is_within(self, role: str) -> bool:
        return self.above_idle[role] <= AIMS_MB[role] * MEBIBYTE


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument(
        "cases",
        nargs="*",
        metavar="CASE",
        help=f"of {', '.join(NAMES + LONG)}; all but the last, with --full all",
    )
    arguments.add_argument(
        "--megabytes", type=int, help="of a single text: 1,024, without --full 100 of the one that is indexed"
    )
    arguments.add_argument("--pages", type=int, default=2000, help="of the PDF")
    asked = arguments.parse_args()
    known = cases(
        refused_mb=asked.megabytes or 1024,
        indexed_mb=asked.megabytes or (1024 if asked.full else 100),
        pages=asked.pages,
    )
    if unknown := set(asked.cases) - set(known):
        arguments.error(f"there is no {', '.join(sorted(unknown))} among {', '.join(known)}")
    setting = f"`hash`, one worker process with 8 threads; {conditions()}"
    found = {name: measured(known[name]) for name in asked.cases or (NAMES + LONG if asked.full else NAMES)}
    publish(
        asked,
        "bench.memory",
        text=f"{setting}\n{text_bars(TITLE, bars(found))}\n{summary(known, found)}",
        markdown=f"{setting}.\n\n![{TITLE}](images/memory.svg)\n\n{summary(known, found)}",
        figures={name: one._asdict() for name, one in found.items()},
        pictures={"memory.svg": svg_bars(TITLE, bars(found))},
    )
    sys.exit(verdict(known, found))


# --- The cases ----------------------------------------------------------------------------------------------


def cases(*, refused_mb: int, indexed_mb: int, pages: int) -> dict[str, Case]:
    """All, by their names."""
    return {
        "refused": Case(
            title=f"{refused_mb:,} MB of text, more than is read",
            files=lambda: [("refused.txt", text(refused_mb, 1))],
            ends="text_too_long",
            raised={"MAX_UPLOAD_BYTES": (refused_mb + 1) * MEBIBYTE},
        ),
        "indexed": Case(
            title=f"{indexed_mb:,} MB of text, indexed",
            files=lambda: [("indexed.txt", text(indexed_mb, 2))],
            ends="COMPLETED",
            raised=as_far_as_needed(indexed_mb),
        ),
        "pages": Case(
            title=f"a PDF of {pages:,} pages",
            files=lambda: [("pages.pdf", blocks_of(pdf(pages)))],
            ends="COMPLETED",
        ),
        "at_once": Case(
            title="8 texts of 200 MB at once",
            files=lambda: [(f"{number}.txt", text(200, number)) for number in range(8)],
            ends="text_too_long",
        ),
        "side_by_side": Case(
            title="8 texts of 19 MB at once, the longest that are read",
            files=lambda: [(f"{number}.txt", text(19, number)) for number in range(8)],
            ends="COMPLETED",
        ),
    }


def as_far_as_needed(megabytes: int) -> dict[str, int]:
    """Limits for a text of ASCII to be indexed; a parser holds three of it, and a little beside."""
    return {
        "MAX_UPLOAD_BYTES": (megabytes + 1) * MEBIBYTE,
        "MAX_TEXT_CHARS": megabytes * MEBIBYTE,
        "MAX_CHUNKS": megabytes * 2000,
        "PARSE_MEMORY_MB": max(1024, 5 * megabytes),
        "PARSE_TIMEOUT_S": 1800,
    }


def blocks_of(data: bytes) -> Iterator[bytes]:
    return (data[first : first + MEBIBYTE] for first in range(0, len(data), MEBIBYTE))


def settings_of(case: Case) -> dict[str, str]:
    """All that any case raises, as it comes or as this one has it: the variables outlast a case."""
    names = as_far_as_needed(1)
    as_they_come = {name: Settings.model_fields[name].default for name in names}
    return {
        "EMBEDDER": "hash",
        **{name: str(value) for name, value in {**as_they_come, **case.raised}.items()},
    }


# --- Measuring ----------------------------------------------------------------------------------------------


def measured(case: Case) -> Measured:
    """The case on a service of its own."""
    print(f"{case.title} …", file=sys.stderr)
    files = case.files()
    with service(workers=1, settings=settings_of(case)) as stack:
        url = stack.options.url
        # What the first upload and the first documents load is not counted.
        for number in range(2):
            finished(url, post(url, f"warm-{number}.txt", text(2, 100 + number)))
        with watched() as above_idle:
            begun = time.monotonic()
            with ThreadPoolExecutor(len(files)) as threads:
                places = list(threads.map(lambda file: post(url, *file), files))
            documents = [finished(url, place) for place in places]
            seconds = time.monotonic() - begun
    return Measured(
        ends=[
            document["error"]["code"] if document["error"] else document["status"] for document in documents
        ],
        chunks=sum(document["chunk_count"] for document in documents),
        seconds=seconds,
        above_idle=above_idle,
    )


def finished(url: str, place: str) -> dict[str, Any]:
    """The document, once it is final.

    Raises:
        SystemExit: It takes too long.
    """
    give_up_at = time.monotonic() + PATIENCE_S
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        while time.monotonic() < give_up_at:
            document: dict[str, Any] = client.get(place, params={"wait": 30}).json()
            if document["status"] in {"COMPLETED", "FAILED"}:
                return document
    sys.exit(f"{place} is not final after {PATIENCE_S} s.")


@contextmanager
def watched() -> Iterator[dict[str, int]]:
    """Bytes by role, right once the block is left: the peak of its largest process, above what that held."""
    roles = told_roles()
    for pid in roles:
        reset_peak(pid)
    idle = {pid: peak_bytes(pid) for pid in roles}
    peaks: dict[tuple[str, int], int] = defaultdict(int)
    above_idle: dict[str, int] = {}
    done = threading.Event()
    looking = threading.Thread(target=look_until, args=(done, peaks))
    looking.start()
    try:
        yield above_idle
    finally:
        done.set()
        looking.join()
    for (role, pid), peak in peaks.items():
        # A parser child that came later began as the others were.
        held = idle[pid] if pid in idle else min(idle[other] for other in idle if roles[other] == role)
        above_idle[role] = max(above_idle.get(role, 0), peak - held)


def look_until(done: threading.Event, peaks: dict[tuple[str, int], int]) -> None:
    """Note the peak of each process, again and again, and once more at the end."""
    is_last = False
    while not is_last:
        is_last = done.wait(LOOK_EVERY_S)
        for pid, role in told_roles().items():
            with suppress(OSError, StopIteration):  # It has ended meanwhile.
                peaks[role, pid] = max(peaks[role, pid], peak_bytes(pid))


def told_roles() -> dict[int, str]:
    """What is ours of the service; not its servers, whose processes share most of their memory."""
    return {pid: role for pid, role in by_role().items() if role in TOLD}


# --- Telling ------------------------------------------------------------------------------------------------

TITLE = "Peak memory above idle, MB"


def bars(found: Mapping[str, Measured]) -> list[Bar]:
    return [
        Bar(f"{name}: {role}", [one.above_idle[role] / MEBIBYTE], role == WORKER)
        for name, one in found.items()
        for role in (WORKER, API)
    ]


def summary(known: Mapping[str, Case], found: Mapping[str, Measured]) -> str:
    """In Markdown, MB above idle of each role."""
    rows = [
        [
            f"`{name}`: {known[name].title}",
            told(one),
            f"{one.seconds:.1f}",
            *(f"{one.above_idle.get(role, 0) / MEBIBYTE:.1f}" for role in TOLD),
        ]
        for name, one in found.items()
    ]
    aims = " and ".join(f"{role} {aim} MB" for role, aim in AIMS_MB.items())
    return table(["", "ends", "seconds", *(f"{role}, MB" for role in TOLD)], rows) + (
        f"\n\nAims: {aims}. {missed(found) or 'All of these meet them.'}"
    )


def told(one: Measured) -> str:
    """How the documents ended, as far as they differ."""
    ends = ", ".join(sorted({end if end == "COMPLETED" else f"FAILED, `{end}`" for end in one.ends}))
    return f"{ends}, {one.chunks:,} chunks" if one.chunks else ends


def missed(found: Mapping[str, Measured]) -> str:
    return "; ".join(
        f"missed by the {role} at `{name}`"
        for name, one in found.items()
        for role in AIMS_MB
        if not one.is_within(role)
    )


def verdict(known: Mapping[str, Case], found: Mapping[str, Measured]) -> int:
    """The exit code: 1 when a document ended otherwise than it has to."""
    return 0 if all(set(one.ends) == {known[name].ends} for name, one in found.items()) else 1


if __name__ == "__main__":
    main()
