"""Whatever is sent ends well or fails with its code; `python -m bench.hostile` adds the public corpora."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.processes import ROOT

OURS = {"DATABASE_URL", "REDIS_URL", "STORAGE_URL", "RETRY_BACKOFF_S", "SWEEP_S"}


@pytest.fixture(scope="module")
def attacked() -> subprocess.CompletedProcess[str]:
    """Hostile files and strings through a service of their own, with real workers."""
    return subprocess.run(
        [sys.executable, "-m", "bench.hostile", "--quick"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name not in OURS},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_every_hostile_document_is_final_with_a_fitting_code_and_the_workers_live(
    attacked: subprocess.CompletedProcess[str],
) -> None:
    assert attacked.returncode == 0, attacked.stdout + attacked.stderr
    assert "nothing went wrong" in attacked.stdout


@pytest.mark.parametrize(
    ("kind", "count", "codes"),
    [
        ("zip bomb", 3, "corrupt_file 3"),
        ("nested zip", 4, "unsupported_media_type 2"),
        ("lying size", 4, "corrupt_file 4"),
        ("encrypted", 2, "encrypted_file 2"),
        ("xml bombs, svg", 14, "COMPLETED 7, no_text 6, corrupt_file 1"),
        ("entities, docx", 4, "COMPLETED"),
        ("pdf", 22, "COMPLETED 18, corrupt_file 2, no_text 2"),
    ],
)
def test_each_kind_ends_as_it_should(
    attacked: subprocess.CompletedProcess[str], kind: str, count: int, codes: str
) -> None:
    (line,) = [line for line in attacked.stdout.splitlines() if line[:28].rstrip() == kind]
    assert int(line[28:34]) == count
    assert codes in line
