"""Uploads large files to one API process and tells how much its memory grows at the most."""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx

from bench.support import conditions, service

MEBIBYTE = 1024 * 1024


def peak_bytes(pid: int) -> int:
    """The most resident memory that the process has had since the last reset."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def reset_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def api_pid(url: str) -> int:
    """The process that listens on the port: a guard stands above it."""
    port = f":{int(url.rpartition(':')[2]):04X}"
    listening = {
        line.split()[9]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if line.split()[1].endswith(port) and line.split()[3] == "0A"
    }
    for process in Path("/proc").glob("[0-9]*"):
        try:
            links = [str(link.readlink()) for link in (process / "fd").iterdir()]
        except OSError:
            continue
        if any(f"socket:[{inode}]" in links for inode in listening):
            return int(process.name)
    raise SystemExit(f"Nothing listens at {url}.")


def body(size_bytes: int, number: int) -> Iterator[bytes]:
    line = f"{number:08d} The upper gate opens at six in the morning, and the lower one at seven.\n".encode()
    block = line * (MEBIBYTE // len(line))
    yield b'--b\r\ncontent-disposition: form-data; name="file"; filename="large.txt"\r\n\r\n'
    sent = 0
    while sent < size_bytes:
        yield block[: size_bytes - sent]
        sent += len(block)
    yield b"\r\n--b--\r\n"


def post(url: str, size_bytes: int, number: int) -> int:
    answer = httpx.post(
        f"{url}/ingest",
        content=body(size_bytes, number),
        headers={"content-type": "multipart/form-data; boundary=b"},
        timeout=300,
        trust_env=False,
    )
    return answer.status_code


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--megabytes", type=int, default=200)
    arguments.add_argument("--at-once", type=int, default=1)
    asked = arguments.parse_args()
    print(f"{asked.at_once} x {asked.megabytes} MB; {conditions()}")
    with service(workers=1) as stack:
        url = stack.options.url
        post(url, MEBIBYTE, 0)  # What the first upload loads is not counted.
        pid = api_pid(url)
        reset_peak(pid)
        before = peak_bytes(pid)
        codes: list[int] = []
        threads = [
            threading.Thread(target=lambda n=n: codes.append(post(url, asked.megabytes * MEBIBYTE, n + 1)))
            for n in range(asked.at_once)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        grown = peak_bytes(pid) - before
    held = f"the API held {before / MEBIBYTE:.0f} MB before, {grown / MEBIBYTE:.1f} MB more at the most"
    print(f"answers {codes}; {held}")
    sys.exit(0 if set(codes) == {201} else 1)


if __name__ == "__main__":
    main()
