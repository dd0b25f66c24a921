"""The life of a document whose content is in an object store, with real processes on both sides."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx

from tests.object_server import ObjectServer, objects
from tests.processes import api_process, eventually, worker_process

TEXT = "".join(f"Gate {number} opens at six in the morning, and closes at ten.\n" for number in range(85_000))


def test_a_document_survives_an_outage_of_its_store_and_leaves_nothing_behind(
    object_server: ObjectServer, migrated: None, tmp_path: Path
) -> None:
    bucket = object_server.bucket("acceptance")
    environment = object_server.environment("s3://acceptance/of/sluice")
    environment |= {"STORAGE_TIMEOUT_S": "1", "CHUNK_TOKENS": "4096"}
    with (
        api_process(environment, tmp_path / "api.log") as api,
        worker_process(environment, tmp_path / "worker.log", "--processes", "1", "--threads", "1") as worker,
        httpx.Client(base_url=api.url, trust_env=False, timeout=60) as client,
    ):
        os.killpg(worker.process.pid, signal.SIGSTOP)  # Until its store is away.
        answer = client.post("/ingest", files={"file": ("gates.txt", TEXT.encode())})
        assert answer.status_code == 201, answer.text
        location = answer.headers["location"]
        (name,) = objects(bucket)
        assert name.startswith("of/sluice/")

        with object_server.silent():
            os.killpg(worker.process.pid, signal.SIGCONT)
            eventually(lambda: client.get(location).json()["failures"])
            assert client.get("/readyz").status_code == 200  # There is much that it can do.
        document = client.get(f"{location}?wait=50").json()
        assert (document["status"], document["size_bytes"]) == ("COMPLETED", len(TEXT))
        (failed, _) = client.get(f"{location}/attempts").json()["attempts"]
        assert failed["error"]["code"] == "storage_unavailable"

        assert client.get(f"{location}/content").text == TEXT
        part = client.get(f"{location}/content", headers={"range": "bytes=4000000-4000099"})
        assert (part.status_code, part.text) == (206, TEXT[4_000_000:4_000_100])
        assert client.delete(location).status_code == 204
        assert objects(bucket) == {}
        secret = environment["AWS_SECRET_ACCESS_KEY"]
        assert secret not in api.log + worker.log
        assert object_server.endpoint_url not in api.log + worker.log
