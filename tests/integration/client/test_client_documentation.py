"""What docs/client.md shows can be typed as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.client.settings import DEFAULT_URL
from app.core.queue import broker
from tests.processes import ROOT, api_process, worker_process

EXAMPLES = re.findall(
    r"^```python\n(.*?)^```", (ROOT / "docs/client.md").read_text(), re.DOTALL | re.MULTILINE
)


@pytest.fixture(scope="module")
def url(migrated: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("server")
    storage = {"STORAGE_URL": f"file://{folder / 'content'}"}
    with (
        api_process(storage, folder / "api.log") as api,
        worker_process(storage, folder / "worker.log", "--processes", "1", "--threads", "4"),
    ):
        yield api.url
    broker.flush_all()


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_runs_as_it_is_written(url: str, example: str) -> None:
    assert DEFAULT_URL in example
    done = subprocess.run(
        [sys.executable, "-c", example.replace(DEFAULT_URL, url)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "gate" in done.stdout
