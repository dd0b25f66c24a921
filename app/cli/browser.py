"""Chromium, for what looks at the pages as people do: tests, `bench.pages` and `./sluice screenshots`."""

from __future__ import annotations

import os
import shutil
import subprocess

from app.errors import StartupError

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

#: Without a sandbox of its own, which it refuses to do without as root; it only sees pages of ours.
ARGUMENTS = ["--no-sandbox"]


def chromium() -> str:
    """The path of a Chromium; installed now, where that can be done: on Debian, as root.

    Raises:
        StartupError: There is none, and how to get one.
    """
    if found := _found():
        return found
    if os.geteuid() == 0 and shutil.which("apt-get"):
        print("Installing Debian's chromium, for the tests of the pages", flush=True)
        _install()
        if found := _found():
            return found
    raise StartupError(
        "The pages are looked at with Chromium, and there is none on PATH: install it"
        " (on Debian and Ubuntu: apt-get install chromium), then call this again."
    )


def _found() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


def _install() -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update", "-qq"], ["install", "-qq", "-y", "--no-install-recommends", "chromium"]):
        # What it prints is for a person; whether it worked shows in what is there afterwards.
        subprocess.run(  # noqa: S603  # Ours, and no shell.
            ["apt-get", *words],  # noqa: S607  # Wherever Debian has it.
            env=environment,
            stdout=subprocess.DEVNULL,
            check=False,
        )
