"""What a stranger does first: everything real, the model too."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.embedded import free_port
from bench.processes import MEBIBYTE
from tests.processes import ROOT, eventually

SERVERS = {"DATABASE_URL", "REDIS_URL", "STORAGE_URL", "EMBEDDER", "RETRY_BACKOFF_S", "SWEEP_S"}
# The converted model is shared by runs, as users' starts share it.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in SERVERS} | {
    "MODEL_CACHE_DIR": str(ROOT / ".data/models")
}


@pytest.fixture(scope="module")
def demonstrated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """`./sluice demo --exit` on an empty folder."""
    data = tmp_path_factory.mktemp("demo") / "data"
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "demo", "--exit", "--data", data, "--port", str(free_port())],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    return data, done


@pytest.fixture(scope="module")
def url(demonstrated: tuple[Path, object]) -> Iterator[str]:
    """`./sluice up` on the data of the demo."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "up", "--data", demonstrated[0], "--port", str(port)],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        eventually(lambda: is_ready(url) or process.poll() is not None, within_s=60)
        yield url
    finally:
        process.terminate()
        assert process.wait(60) == 0


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").is_success
    except httpx.HTTPError:
        return False


def search(url: str, query: str, **more: object) -> list[dict[str, Any]]:
    answer = httpx.post(f"{url}/search", json={"query": query, "top_k": 3, **more})
    answer.raise_for_status()
    hits: list[dict[str, Any]] = answer.json()["hits"]
    return hits


def zipped(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("gates.txt", content)
    return file.getvalue()


def test_the_demo_ends_well_with_hits_from_a_pdf_a_docx_and_a_markdown_file(
    demonstrated: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    done = demonstrated[1]

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("COMPLETED") == 11
    answers = done.stdout.partition("?\n")[2]
    for name in ("visitor-guide.pdf", "operating-rules.docx", "winter-maintenance.md"):
        assert name in answers
    assert "\x1b" not in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_second_start_finds_its_data_and_answers_by_meaning(url: str) -> None:
    hit = search(url, "How much does a motor boat pay for a passage?")[0]

    assert (hit["citation"]["source"], hit["citation"]["page"]) == ("visitor-guide.pdf", 1)
    assert "motor boat" in hit["text"]
    assert hit["score"] > search(url, "the price of onions")[0]["score"]


def test_a_document_is_found_once_it_is_completed_and_not_after_it_was_deleted(url: str) -> None:
    text = "The swing bridge stays closed to boats on market days."
    posted = httpx.post(f"{url}/ingest", json={"text": f"\n{text}\n", "title": "Bridge", "collection": "b"})
    assert posted.status_code == 201
    document = httpx.get(f"{url}{posted.headers['location']}", params={"wait": 30}, timeout=40).json()
    assert (document["status"], document["chunk_count"], document["searchable"]) == ("COMPLETED", 1, True)

    (hit,) = search(url, "When does the bridge not open?", collections=["b"])
    assert (hit["document_id"], hit["text"]) == (document["document_id"], text)
    assert hit["citation"]["title"] == "Bridge"
    assert hit["citation"]["char_end"] - hit["citation"]["char_start"] == len(text)

    assert httpx.delete(f"{url}{posted.headers['location']}").status_code == 204
    assert search(url, "When does the bridge not open?", collections=["b"]) == []


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("archive.zip", zipped(b"gates"), "unsupported_media_type"),
        ("cut.docx", (ROOT / "samples/operating-rules.docx").read_bytes()[:9000], "corrupt_file"),
        ("cut.pdf", (ROOT / "samples/visitor-guide.pdf").read_bytes()[:900], "corrupt_file"),
        ("space.txt", b" \n" * 50_000, "empty_file"),
    ],
)
def test_a_file_that_cannot_be_read_fails_with_its_code_and_a_hint(
    url: str, name: str, content: bytes, code: str
) -> None:
    posted = httpx.post(f"{url}/ingest", files={"file": (name, content)})
    assert posted.status_code == 201
    document = httpx.get(f"{url}{posted.headers['location']}", params={"wait": 30}, timeout=40).json()

    assert (document["status"], document["error"]["code"]) == ("FAILED", code)
    assert document["error"]["hint"]
    assert document["processing_errors"].startswith("attempt 1, parsing: ")
    assert document["attempt"] == 1


def test_a_large_upload_costs_the_api_little_memory(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, "-m", "bench.memory", "refused", "--megabytes", "100", "--json", str(figures)],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    above_idle = json.loads(figures.read_text())["refused"]["above_idle"]
    assert above_idle["API"] < 50 * MEBIBYTE, done.stdout
    assert above_idle["worker"] < 50 * MEBIBYTE, done.stdout
