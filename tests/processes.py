"""Real worker processes, and a real embedding service that does as it is told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

from app.embedded import free_port

T = TypeVar("T")

ROOT = Path(__file__).parents[1]


def eventually(look: Callable[[], T], *, within_s: float = 20) -> T:
    """The first true answer of `look`; fails when there is none in time."""
    deadline = time.monotonic() + within_s
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"Nothing to be seen within {within_s} s; the last look gave {found!r}")
        time.sleep(0.02)  # Between two looks, not instead of one.


class WorkerProcess:
    """`dramatiq app.jobs.ingestion_job`, as documented, with its log."""

    def __init__(self, environment: Mapping[str, str], log: Path, *options: str) -> None:
        self.log_path = log
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                [str(Path(sys.executable).with_name("dramatiq")), "app.jobs.ingestion_job", *options],
                cwd=ROOT,
                env={**os.environ, **environment},
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def started(self) -> WorkerProcess:
        eventually(lambda: "worker_started" in self.log or self.process.poll() is not None, within_s=40)
        assert self.process.poll() is None, self.log
        return self

    def children(self) -> list[int]:
        """All processes below the master."""
        found, unseen = [], [self.process.pid]
        while unseen:
            pid = unseen.pop()
            try:
                below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            except FileNotFoundError:
                continue
            unseen += map(int, below)
            found += map(int, below)
        return found

    def stop(self, kind: signal.Signals = signal.SIGTERM, within_s: float = 30) -> int:
        if self.process.poll() is None:
            self.process.send_signal(kind)
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            raise AssertionError(f"The worker did not stop within {within_s} s:\n{self.log}") from None


@contextmanager
def worker_process(environment: Mapping[str, str], log: Path, *options: str) -> Iterator[WorkerProcess]:
    """A started worker that is gone when the block ends."""
    worker = WorkerProcess(environment, log, *options)
    try:
        yield worker.started()
    finally:
        worker.stop()


class APIProcess:
    """`uvicorn app.main:app`, as documented, on a port of its own, with its log."""

    def __init__(self, environment: Mapping[str, str], log: Path, *, port: int, **process: Any) -> None:
        self.port = port
        self.log_path = log
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "uvicorn", "app.main:app", "--port", str(port), "--http", "h11"],
                cwd=ROOT,
                env={**os.environ, **environment},
                stdout=stream,
                stderr=stream,
                **process,
            )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def started(self) -> APIProcess:
        eventually(lambda: "startup complete" in self.log or self.process.poll() is not None, within_s=40)
        assert self.process.poll() is None, self.log
        return self

    def stop(self, within_s: float = 20) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"The API did not stop within {within_s} s:\n{self.log}") from None


@contextmanager
def api_process(environment: Mapping[str, str], log: Path, **process: Any) -> Iterator[APIProcess]:
    """A started API that is gone when the block ends; `process` goes to `Popen`."""
    api = APIProcess(environment, log, port=free_port(), **process)
    try:
        yield api.started()
    finally:
        api.stop()


class EmbeddingService:
    """`/v1/embeddings` on a port of its own; `behave` decides what each request gets."""

    dimensions = 8

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.under_way = 0
        self.behave: Callable[[], int] = lambda: 200
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
                service.requests.append(asked)
                service.under_way += 1
                try:
                    self._answer(service.behave(), asked["input"])
                finally:
                    service.under_way -= 1

            def _answer(self, status: int, texts: list[str]) -> None:
                data = [
                    {"index": index, "embedding": [1.0, *[0.1] * (service.dimensions - 1)]}
                    for index, _ in enumerate(texts)
                ]
                body = json.dumps({"data": data} if status == 200 else {"error": {"message": "no"}}).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.send_header("retry-after", "0")
                with suppress(ConnectionError):  # Who asked may have been stopped meanwhile.
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "EMBEDDER": "openai",
            "EMBEDDER_URL": self.url,
            "EMBEDDER_MODEL": "scripted",
            "EMBEDDER_DIMENSIONS": str(self.dimensions),
        }

    @contextmanager
    def holding_back(self) -> Iterator[threading.Event]:
        """Inside the block, nothing is answered until the event is set; after it, everything."""
        let_go = threading.Event()

        def wait() -> int:
            let_go.wait(60)
            return 200

        self.behave = wait
        try:
            yield let_go
        finally:
            let_go.set()

    @contextmanager
    def serving(self) -> Iterator[EmbeddingService]:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
