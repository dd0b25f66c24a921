"""`sluice version`, or `sluice --version`."""

from __future__ import annotations

from app import __version__


def version() -> None:
    """Tell the version of this program."""
    print(f"sluice {__version__}")
