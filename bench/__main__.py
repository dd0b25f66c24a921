"""The quick ones, one after the other, on this machine: a few minutes, and a table with bars of each."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

QUICK = {
    "accept": ["--rounds", "3"],
    "pickup": ["--messages", "20", "--documents", "30", "--idle-s", "10"],
    "fairness": [],
    "job_overhead": [],
    "small_documents": ["--documents", "5000"],
}


def main() -> None:
    arguments = argparse.ArgumentParser(prog="sluice bench", description=__doc__)
    arguments.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(QUICK)}; all by default")
    asked = arguments.parse_args()
    if unknown := set(asked.names) - set(QUICK):
        arguments.error(f"there is no {', '.join(sorted(unknown))} among {', '.join(QUICK)}")
    failed = [name for name in asked.names or QUICK if not run(name)]
    if failed:
        sys.exit(f"Not measured: {', '.join(failed)}.")


def run(name: str) -> bool:
    """Whether it came to its end; what it says is printed, what it says of its progress only if it failed."""
    print(f"\n{name} …", flush=True)
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", f"bench.{name}", *QUICK[name]], capture_output=True, text=True, check=False
    )
    print(done.stdout.strip() if done.returncode == 0 else done.stdout + done.stderr)
    print(f"({time.monotonic() - begun:.0f} s)", flush=True)
    return done.returncode == 0


if __name__ == "__main__":
    main()
