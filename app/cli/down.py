"""`sluice down`: stop the `up` or `demo` that serves a data folder, from another terminal."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Annotated

import typer

from app.cli.lazy import DEFAULT_DATA, from_caller
from app.embedded import FolderLock
from app.errors import StartupError

PATIENCE_S = 60.0


def down(
    data: Annotated[
        Path,
        typer.Option(
            callback=from_caller, show_default=".data beside ./sluice", help="The data folder to stop."
        ),
    ] = DEFAULT_DATA,
) -> None:
    """Stop the `up` or `demo` of another terminal."""
    lock = FolderLock(data)
    holder = lock.holder()
    if holder is None:
        print(f"Nothing runs on {data}.")
        return
    if holder.pid is None:
        raise StartupError(f"Something holds {data} and does not say who it is; try again in a moment.")
    try:
        os.kill(holder.pid, signal.SIGTERM)
    except ProcessLookupError:
        pass  # It has just ended.
    except PermissionError:
        raise StartupError(f"Process {holder.pid} belongs to another user; it goes on.") from None
    deadline = time.monotonic() + PATIENCE_S
    while lock.holder() is not None:
        if time.monotonic() > deadline:
            raise StartupError(f"Process {holder.pid} has not stopped after {PATIENCE_S:g} s.")
        time.sleep(0.05)
    print(f"Stopped process {holder.pid} on {data}.")
