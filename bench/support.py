"""What the benches share: a service of their own, and the corpora."""

from __future__ import annotations

import asyncio
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg

from app.cli.stack import Stack, StackOptions
from app.core.config import get_settings
from app.embedded import free_port


def corpora(name: str) -> Path:
    """A folder of the public corpora.

    Raises:
        SystemExit: They are not here.
    """
    folder = Path(os.environ.get("SLUICE_CORPORA", "../shared/corpora")) / name
    if not folder.is_dir():
        sys.exit(f"{folder} is not there: set SLUICE_CORPORA to the folder with the public corpora.")
    return folder


@contextmanager
def service(*, workers: int, data: Path | None = None, storage: Path | None = None) -> Iterator[Stack]:
    """The whole service on an empty database; its data, or its large contents, in a given folder."""
    for name in ("DATABASE_URL", "REDIS_URL", "STORAGE_URL"):
        os.environ.pop(name, None)
    if storage is not None:
        os.environ["STORAGE_URL"] = f"file://{storage}"
    get_settings.cache_clear()
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        data = data or Path(folder)
        # The converted model is the same for all runs.
        os.environ.setdefault("MODEL_CACHE_DIR", str(Path(".data/models").absolute()))
        options = StackOptions(data=data, host="127.0.0.1", port=free_port(), workers=workers)
        with Stack(options, lambda text: print(text, file=sys.stderr)) as stack:
            yield stack


def conditions() -> str:
    """The machine, in a line."""
    return (
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()},"
        f" load {os.getloadavg()[0]:.1f} at the start"
    )


async def counted(database_url: str) -> None:
    """Wait until the words of all chunks are counted, as they are seconds after an import."""
    connection = await asyncpg.connect(database_url)
    try:
        while await connection.fetchval(
            "SELECT EXISTS (SELECT FROM chunk_changes) OR EXISTS (SELECT FROM collections"
            " WHERE changed_chunks * 10 > chunks)"
        ):
            await asyncio.sleep(0.5)
    finally:
        await connection.close()
