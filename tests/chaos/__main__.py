"""`./sluice chaos [FAULT…] [--documents N] [--list] [--json FILE]`."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.faults import FAULTS
from tests.chaos.report import Outcome, conditions, table, write_json
from tests.chaos.rig import Scale
from tests.chaos.runner import run_all


def main() -> int:
    """Run what was asked for; 0 when all figures were met and both controls were found out."""
    asked = _arguments()
    if asked.list:
        _print(*(f"{name:24}{fault.told}" for name, fault in FAULTS.items()))
        return 0
    scale = Scale(documents=asked.documents)
    _print(conditions(scale))
    # Ctrl-C unwinds everything; so must a supervisor's way of asking.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    folder = Path(asked.keep) if asked.keep else None
    with tempfile.TemporaryDirectory(prefix="sluice-chaos-") as temporary:
        try:
            outcomes = _run(asked.faults or list(FAULTS), scale, folder or Path(temporary))
        except KeyboardInterrupt:
            _print("Stopped.")
            return 130
    _print("", table(outcomes))
    if asked.json:
        write_json(asked.json, scale, outcomes)
    return 0 if all(outcome.is_as_wanted for outcome in outcomes) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./sluice chaos", description="Break things, and see whether the promise holds."
    )
    parser.add_argument("faults", nargs="*", metavar="FAULT", help="of --list; all of them by default")
    parser.add_argument("--documents", type=int, default=1000, metavar="N", help="1000 by default")
    parser.add_argument("--list", action="store_true", help="name the faults, and do nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave data and logs in this new folder")
    asked = parser.parse_args()
    if unknown := [name for name in asked.faults if name not in FAULTS]:
        parser.error(f"no such fault: {', '.join(unknown)}; --list names them")
    return asked


def _run(names: list[str], scale: Scale, folder: Path) -> list[Outcome]:
    begun = time.monotonic()

    def say(text: str) -> None:
        _print(f"{time.monotonic() - begun:7.1f} s  {text}")

    def tell(outcome: Outcome) -> None:
        _print(table([outcome]).split("\n", 2)[2])

    faults = [FAULTS[name]() for name in names]
    return asyncio.run(run_all(faults, scale, folder, say, tell=tell))


def _print(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)  # noqa: T201  # A program for people.


if __name__ == "__main__":
    sys.exit(main())
