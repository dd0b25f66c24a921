"""A real object store for tests: nanio, which keeps objects as files and checks every signature."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx
from pydantic import SecretStr

from app.embedded import free_port
from app.storage.objects import ObjectStore, S3Access
from tests.processes import eventually

ACCESS_KEY_ID = "sluice-tests"
SECRET_ACCESS_KEY = "a secret that nobody is told"


class ObjectServer:
    """The server, in a process of its own, and its buckets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._log = folder / "log"

    def __enter__(self) -> Self:
        (self.folder / "objects").mkdir()
        with self._log.open("wb") as stream:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "uvicorn", "nanio.app:build_app", "--factory"),
                    *("--port", str(self.port), "--http", "h11"),
                ],
                env={
                    **os.environ,
                    "NANIO_ACCESS_KEY": ACCESS_KEY_ID,
                    "NANIO_SECRET_KEY": SECRET_ACCESS_KEY,
                    "NANIO_DATA_DIR": str(self.folder / "objects"),
                },
                stdout=stream,
                stderr=stream,
            )
        eventually(self._answers)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log
        try:
            return httpx.get(self.endpoint_url, trust_env=False).status_code == 403
        except httpx.TransportError:
            return False

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return self._log.read_text()

    def bucket(self, name: str) -> Path:
        """A bucket of this name, and where its objects lie."""
        folder = self.folder / "objects" / name
        folder.mkdir(exist_ok=True)
        return folder

    def environment(self, url: str) -> dict[str, str]:
        """The settings of a process whose contents are there."""
        return {
            "STORAGE_URL": url,
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        }

    def settings(self, url: str) -> dict[str, Any]:
        """Likewise, as changes of `Settings`."""
        return {**self.environment(url), "AWS_SECRET_ACCESS_KEY": SecretStr(SECRET_ACCESS_KEY)}

    def access(self, **changes: Any) -> S3Access:
        """How it is reached."""
        given: dict[str, Any] = {
            "endpoint_url": self.endpoint_url,
            "region": "us-east-1",
            "access_key_id": ACCESS_KEY_ID,
            "secret_access_key": SecretStr(SECRET_ACCESS_KEY),
        }
        return S3Access(**(given | changes))

    def store(self, url: str, **changes: Any) -> ObjectStore:
        """A store in it; its bucket has to be there."""
        return ObjectStore(url, self.access(**changes))

    @contextmanager
    def silent(self) -> Iterator[None]:
        """It takes connections, and answers nobody, while the block lasts."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


def objects(bucket: Path) -> dict[str, bytes]:
    """What lies in a bucket, by name, without what the server and the sweep note there."""
    return {
        str(path.relative_to(bucket)): path.read_bytes()
        for path in bucket.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(bucket).parts)
    }
