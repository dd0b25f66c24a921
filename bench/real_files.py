"""Posts every real PDF and ODT of the public corpora and tells how each ends."""

from __future__ import annotations

import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from bench.support import conditions, corpora, service


def ingest(client: httpx.Client, path: Path) -> dict[str, object]:
    with path.open("rb") as file:
        answer = client.post("/ingest", files={"file": (path.name, file)}, data={"external_id": str(path)})
    answer.raise_for_status()
    for _ in range(10):
        document: dict[str, object] = client.get(answer.headers["location"], params={"wait": 30}).json()
        if document["status"] in {"COMPLETED", "FAILED"}:
            break
    return document


def outcome(document: dict[str, object]) -> str:
    error = document["error"]
    return error["code"] if isinstance(error, dict) else str(document["status"])


def main() -> int:
    folder = corpora("pdf")
    files = sorted(path for path in folder.rglob("*") if path.suffix in {".pdf", ".odt"})
    print(f"{len(files)} files; {conditions()}")
    with (
        service(workers=2) as stack,
        httpx.Client(base_url=stack.options.url, timeout=60, trust_env=False) as client,
    ):
        with ThreadPoolExecutor(8) as threads:
            documents = list(threads.map(lambda path: ingest(client, path), files))
        for path, document in zip(files, documents, strict=True):
            warnings = f"  ({'; '.join(document['warnings'])})" if document["warnings"] else ""  # type: ignore[arg-type]
            chunks = f"{document['chunk_count']:>5} chunks"
            print(f"{outcome(document):24}{chunks}  {path.relative_to(folder)}{warnings}")
    print(
        "\n" + ", ".join(f"{code}: {count}" for code, count in Counter(map(outcome, documents)).most_common())
    )
    return 0 if all(document["status"] in {"COMPLETED", "FAILED"} for document in documents) else 1


if __name__ == "__main__":
    sys.exit(main())
