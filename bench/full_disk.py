"""Fills small file systems (tmpfs; needs root) under the service, and tells what its clients are answered."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import httpx

from bench.support import conditions, service

MEBIBYTE = 1024 * 1024
OWN_NAMESPACE = "SLUICE_BENCH_MOUNTS"


@contextmanager
def small_disk(folder: Path, size_mb: int) -> Iterator[Path]:
    """A file system of its own, in this process' mount namespace: nobody else sees it."""
    folder.mkdir()
    options = f"size={size_mb}m,mode=700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def upload(url: str, size_bytes: int, number: int) -> int:
    line = f"{number:08d} The upper gate opens at six in the morning.\n".encode()
    content = (line * (size_bytes // len(line) + 1))[:size_bytes]
    answer = httpx.post(f"{url}/ingest", files={"file": ("a.txt", content)}, timeout=60, trust_env=False)
    return answer.status_code


def count(url: str) -> int:
    rows, cursor = 0, None
    while True:
        params = {"limit": 500} | ({"cursor": cursor} if cursor else {})
        page = httpx.get(f"{url}/documents", params=params, timeout=60, trust_env=False).json()
        rows += len(page["documents"])
        if (cursor := page["next_cursor"]) is None:
            return rows


def until_refused(url: str, size_bytes: int, *, at_most: int) -> Counter[int]:
    """Upload until ten in a row are refused."""
    answers: Counter[int] = Counter()
    refused = 0
    for number in range(at_most):
        status = upload(url, size_bytes, number)
        answers[status] += 1
        refused = 0 if status == 201 else refused + 1
        if refused == 10:
            break
    return answers


def store_and_spool(root: Path) -> bool:
    """Both on disks of their own: first the one is full, then the other."""
    with (
        small_disk(root / "content", 16) as content,
        small_disk(root / "spool", 6) as spool,
        patch.dict(os.environ, TMPDIR=str(spool)),
        service(workers=1, data=root / "data", storage=content) as stack,
    ):
        url = stack.options.url
        answers = until_refused(url, 2 * MEBIBYTE, at_most=40)
        stored = sum(1 for path in content.rglob("*") if path.is_file())
        rows = count(url)
        spooled = upload(url, 8 * MEBIBYTE, 0)
        left = [path.name for path in spool.rglob("*") if path.is_file()]
    print(f"STORAGE_URL full (16 MB): answers {dict(answers)}, {stored} files, {rows} rows")
    print(f"TMPDIR full (6 MB): answer {spooled}, files left there: {len(left)}")
    return set(answers) == {201, 507} and stored == rows == answers[201] and spooled == 507 and not left


def database(root: Path) -> bool:
    """PostgreSQL's folder on a small disk; then some space is made, and it must go on by itself."""
    with (
        small_disk(root / "postgres", 200) as data,
        patch.dict(os.environ, INLINE_CONTENT_BYTES=str(MEBIBYTE)),
        service(workers=1, data=data) as stack,
    ):
        url = stack.options.url
        ballast = data / "ballast"
        ballast.write_bytes(bytes(60 * MEBIBYTE))
        answers = until_refused(url, MEBIBYTE // 2, at_most=400)
        ballast.unlink()
        begun = time.monotonic()
        while (status := upload(url, MEBIBYTE // 2, 9999)) != 201:
            answers[status] += 1
            if time.monotonic() - begun > 120:
                break
        again_s = time.monotonic() - begun
        rows = count(url)
    accepted = answers[201] + (status == 201)
    print(f"PostgreSQL's disk full: answers {dict(answers)}; {again_s:.1f} s after space was made: {status};")
    print(f"  {accepted} accepted, {rows} rows")
    return set(answers) <= {201, 503, 507} and status == 201 and rows >= accepted


def main() -> None:
    if OWN_NAMESPACE not in os.environ:
        os.environ[OWN_NAMESPACE] = "1"
        os.execvp("unshare", ["unshare", "--mount", sys.executable, "-m", "bench.full_disk"])
    print(conditions())
    with tempfile.TemporaryDirectory(prefix="sluice-full-disk-") as folder:
        are_good = [store_and_spool(Path(folder)), database(Path(folder))]
    sys.exit(0 if all(are_good) else 1)


if __name__ == "__main__":
    main()
