"""The long game: `python -m tests.model`, until so many documents have lived through it, seed after seed."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from app.core.config import Settings
from app.core.database import migrate
from app.embedded import EmbeddedPostgres
from tests.model.running import explore, machine, no_fence

RUNS_A_SEED = 100


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--first-seed", type=int, default=1)
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="sluice-model-") as folder,
        EmbeddedPostgres(Path(folder) / "postgres", settings={"fsync": "off"}) as postgres,
    ):
        own = Settings(DATABASE_URL=postgres.url, EMBEDDER="hash")
        asyncio.run(migrate(own))
        play(own, documents=asked.documents, first_seed=asked.first_seed)
        return control(own, first_seed=asked.first_seed)


def play(own: Settings, *, documents: int, first_seed: int) -> None:
    """With the fence: no violation, or an AssertionError with the steps that led to it."""
    began = time.monotonic()
    seed = first_seed
    with machine(own) as kind:
        while kind.counts["documents"] < documents:
            explore(kind, first_seed=seed, runs=RUNS_A_SEED)
            seed += 1
            print(f"  seed {seed - 1}: {_told(kind.counts, began)}", file=sys.stderr, flush=True)
        print(f"fence on: {seed - first_seed} seeds, {_told(kind.counts, began)}, 0 violations")


def control(own: Settings, *, first_seed: int) -> int:
    """Without the fence: the exit code says whether a violation was found, as it must be."""
    began = time.monotonic()
    with machine(own) as kind, no_fence():
        try:
            explore(kind, first_seed=first_seed, runs=10 * RUNS_A_SEED)
        except AssertionError as violation:
            print(f"fence off: {violation} ({_told(kind.counts, began)})")
            return 0
    print(f"fence off: NOTHING was violated ({_told(kind.counts, began)}): this game proves nothing")
    return 1


def _told(counts: dict[str, int], began: float) -> str:
    seconds = time.monotonic() - began
    return f"{counts['documents']:,} documents, {counts['steps']:,} steps, {seconds:.0f} s"


if __name__ == "__main__":
    sys.exit(main())
