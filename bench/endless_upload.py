"""Pours an endless body into one API process, by a raw socket; tells when it is stopped and what it costs."""

from __future__ import annotations

import argparse
import select
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from bench.processes import MEBIBYTE, api_pid, peak_bytes, reset_peak
from bench.support import conditions, service

JSON_HEAD = b'{"text": "'
FORM_HEAD = b'--b\r\ncontent-disposition: form-data; name="file"; filename="endless.txt"\r\n\r\n'
KINDS = {
    "JSON": ("application/json", JSON_HEAD),
    "multipart": ("multipart/form-data; boundary=b", FORM_HEAD),
}
ALLOWED_MB = 20


@dataclass(frozen=True)
class Poured:
    """What came of it."""

    sent_bytes: int
    answer: bytes  # All that the server said until it hung up.
    is_reset: bool  # It hung up rudely.

    @property
    def status(self) -> int:
        return int(self.answer.split(b" ", 2)[1]) if self.answer else 0


def endless(head: bytes) -> Iterator[bytes]:
    """A body in chunked encoding that has no end."""
    line = b"The upper gate opens at six in the morning. "
    block = line * (MEBIBYTE // len(line))
    yield b"%x\r\n%s\r\n" % (len(head), head)
    chunk = b"%x\r\n%s\r\n" % (len(block), block)
    while True:
        yield chunk


def request_head(request_line: str, content_type: str) -> bytes:
    return (
        f"{request_line} HTTP/1.1\r\nhost: sluice\r\ncontent-type: {content_type}\r\n"
        f"transfer-encoding: chunked\r\n\r\n"
    ).encode()


def pour(port: int, head: bytes, body: Iterator[bytes], *, at_most_bytes: int) -> Poured:
    """Send until the server says something, hangs up, or has had enough; then read until it hangs up."""
    sent_bytes = 0
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        try:
            connection.sendall(head)
            for block in body:
                if sent_bytes >= at_most_bytes or select.select([connection], [], [], 0)[0]:
                    break
                connection.sendall(block)
                sent_bytes += len(block)
        except ConnectionError:
            pass  # What it has to say is still there to be read.
        return _with_answer(connection, sent_bytes)


def _with_answer(connection: socket.socket, sent_bytes: int) -> Poured:
    answer = b""
    try:
        while block := connection.recv(65536):
            answer += block
    except ConnectionError:
        return Poured(sent_bytes, answer, is_reset=True)
    return Poured(sent_bytes, answer, is_reset=False)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--gigabytes", type=float, default=10, help="give up after so much")
    asked = arguments.parse_args()
    print(conditions())
    are_good = []
    with service(workers=1) as stack:
        pid = api_pid(stack.options.url)
        for name, (content_type, head) in KINDS.items():
            reset_peak(pid)
            before, begun = peak_bytes(pid), time.monotonic()
            poured = pour(
                stack.options.port,
                request_head("POST /ingest", content_type),
                endless(head),
                at_most_bytes=int(asked.gigabytes * 1024 * MEBIBYTE),
            )
            grown_mb = (peak_bytes(pid) - before) / MEBIBYTE
            end = "reset" if poured.is_reset else "closed in order"
            print(
                f"{name}: {poured.status} after {poured.sent_bytes / MEBIBYTE:.0f} MB"
                f" and {time.monotonic() - begun:.1f} s, {end};"
                f" the API held {before / MEBIBYTE:.0f} MB before, {grown_mb:.1f} MB more at the most"
            )
            are_good.append(poured.status == 413 and not poured.is_reset and grown_mb < ALLOWED_MB)
    sys.exit(0 if all(are_good) else 1)


if __name__ == "__main__":
    main()
