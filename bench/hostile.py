"""Hostile files and strings through the real API and real workers: how each ends, and what must not happen.

The corpora `hostile-pdf` and `hostile-xml` (each XML also inside office files), the strings of `blns.json` in
every place that takes a string, and the files of tests/hostile.py. Ends with 1 unless every document that was
accepted is final with a code that fits, no answer is 5xx, no worker died, nobody called the listener that the
entities point at, and nothing was written or read outside the data folder.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import socket
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg
import httpx

from bench.support import conditions, corpora, service
from tests.hostile import HostileFile, hostile_files, in_all_containers

ROOT = Path(__file__).parents[1]
# Longer than any of the files takes on a busy machine, but for those that have no end.
PARSE_TIMEOUT_S, PARSE_MEMORY_MB = 60, 512
FINAL = {"COMPLETED", "FAILED"}
# Each of these is the fault of the file; the others of docs/errors.md would be ours.
FITTING = frozenset({
    None, "unsupported_media_type", "empty_file", "no_text", "encrypted_file", "corrupt_file",
    "text_too_long", "parse_timeout", "out_of_memory", "parser_crashed",
})  # fmt: skip
# Where the strings of the corpus are not at hand.
A_FEW_STRINGS = [
    "", " ", "\0", "\ud800", "\u202etxt.exe", "🏳️‍🌈" * 300, "../../../etc/passwd",
    "'; DROP TABLE documents; --", "%s%n{0}${x}", "<script>alert(1)</script>", "a\r\nSet-Cookie: x=y", "NaN",
    "-1", "null", "[]", "\\", '"', "*", "() { :; }; touch breached", "$(touch breached)", "ﷺ" * 700,
    "\u0300" * 2000, "\t", "x" * 3000,
]  # fmt: skip


@dataclass
class Outcomes:
    """Of one kind of attempt."""

    count: int = 0
    answers: Counter[int] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)


class Attack:
    """Sends, waits for the end, and keeps the books."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.outcomes: dict[str, Outcomes] = defaultdict(Outcomes)
        self.wrong: list[str] = []

    def upload(self, file: HostileFile) -> None:
        """As a file; the codes that it may fail with are given."""
        # Equal bytes under another ending are another attempt.
        data = {"collection": file.name.rpartition(".")[2]}
        self.ingest(
            file.kind,
            lambda: self.client.post("/ingest", files={"file": (file.name, file.content)}, data=data),
            codes=file.codes,
            shown=file.name,
        )

    def post(self, kind: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        # Escaped, so that lone surrogates get through too.
        content = json.dumps(body).encode("ascii")
        headers = {"content-type": "application/json"} | (headers or {})
        self.ingest(kind, lambda: self.client.post("/ingest", content=content, headers=headers))

    def ingest(
        self,
        kind: str,
        request: Callable[[], httpx.Response],
        *,
        codes: frozenset[str | None] = FITTING | {"invalid_request"},
        shown: str = "",
    ) -> None:
        """Send a document, and wait until it is final."""
        code = self._end_of(kind, self.ask(kind, request))
        if code not in codes:
            self.wrong.append(f"{kind} {shown} ended with {code}")

    def ask(self, kind: str, request: Callable[[], httpx.Response]) -> httpx.Response:
        begun = time.monotonic()
        try:
            answer = request()
        except httpx.TransportError as error:
            answer = httpx.Response(599, json={"code": "no_answer", "error": repr(error)})
        outcomes = self.outcomes[kind]
        outcomes.count += 1
        outcomes.answers[answer.status_code] += 1
        outcomes.seconds.append(time.monotonic() - begun)
        if answer.status_code >= 500:
            self.wrong.append(f"{kind}: {answer.status_code} {answer.text[:200]}")
        return answer

    def _end_of(self, kind: str, answer: httpx.Response) -> str | None:
        """The code of the document, None when it is COMPLETED; or of the answer, when it was refused."""
        if answer.status_code >= 300:
            code = answer.json().get("code")
            self.outcomes[kind].codes[f"({code})"] += 1
            return str(code)
        begun = time.monotonic()
        for _ in range(10):
            document = self.client.get(answer.headers["location"], params={"wait": 30}).json()
            if document["status"] in FINAL:
                break
        else:
            self.wrong.append(f"{kind} {document['document_id']} is still {document['status']}")
        outcomes = self.outcomes[kind]
        outcomes.seconds[-1] += time.monotonic() - begun
        code = document["error"]["code"] if document["error"] else None
        outcomes.codes[code or document["status"]] += 1
        return code

    def table(self) -> Iterator[str]:
        yield f"{'kind':28}{'count':>6} {'seconds':>8} {'max':>6}  answers and ends"
        for kind, outcomes in self.outcomes.items():
            answers = ", ".join(f"{status}: {count}" for status, count in sorted(outcomes.answers.items()))
            codes = ", ".join(f"{code} {count}" for code, count in outcomes.codes.most_common())
            took = f"{sum(outcomes.seconds):8.1f} {max(outcomes.seconds):6.2f}"
            yield f"{kind:28}{outcomes.count:6} {took}  {answers}; {codes}".rstrip("; ")


# --- What is sent ------------------------------------------------------------------------------------------


def from_corpora(canary: Path, url: str) -> Iterator[HostileFile]:
    for path in sorted(corpora("hostile-pdf").glob("*.fuzz")):
        yield HostileFile("hostile-pdf", f"{path.stem}.pdf", path.read_bytes(), FITTING)
    for path in sorted(corpora("hostile-xml").glob("*.x*")):
        xml = path.read_bytes().replace(b"file:///PATH/TO/simple.xml", f"file://{canary}".encode())
        for host in (b"http://www.python.org", b"http://localhost"):
            xml = xml.replace(host, url.encode())
        for kind, name, content in in_all_containers("hostile-xml", path.stem, xml):
            yield HostileFile(kind, name, content, FITTING)


def send_strings(attack: Attack, strings: list[str], send: Callable[..., Any]) -> None:
    """Each string in each place that takes one."""
    for number, text in enumerate(strings):
        send(attack.post, "string as text", {"text": text, "collection": "texts"})
        for place in ("title", "external_id", "collection"):
            send(attack.post, f"string as {place}", {"text": f"{place} {number}", place: text})
        metadata = {"value": text, f"key {text}": [text], text: number}
        send(attack.post, "string as metadata", {"text": f"metadata {number}", "metadata": metadata})
        send(attack.ingest, "string as file name", named(attack.client, text, number))
        send(attack.ask, "string as query", query(attack.client, text))
        send(attack.ask, "string in addresses", address(attack.client, text))
        send(attack.ask, "string in retries", retry(attack.client, text))
        # Numbered: some of them differ only in the white space around them, which no header keeps.
        key = {"idempotency-key": f"{number}-{quote(text, errors='replace')}"}
        send(attack.post, "string as key", {"text": f"key {number}"}, key)
        for name in ("collection", "external_id", "cursor", "status"):
            send(attack.ask, "string in filters", filtered(attack.client, name, text))


def named(client: httpx.Client, name: str, number: int) -> Callable[[], httpx.Response]:
    content = name.encode("utf-8", "replace")
    head = b'--b\r\ncontent-disposition: form-data; name="file"; filename="%s"\r\n\r\n' % content
    body = head + f"file name {number}".encode() + b"\r\n--b--\r\n"
    headers = {"content-type": "multipart/form-data; boundary=b"}
    return lambda: client.post("/ingest", content=body, headers=headers)


def query(client: httpx.Client, text: str) -> Callable[[], httpx.Response]:
    body = json.dumps({"query": text, "collections": ["texts"]}).encode("ascii")
    return lambda: client.post("/search", content=body, headers={"content-type": "application/json"})


def retry(client: httpx.Client, text: str) -> Callable[[], httpx.Response]:
    """Of nothing: no document has such a code in such a collection."""
    body = json.dumps({"collection": text, "codes": [text]}).encode("ascii")
    return lambda: client.post("/documents/retry", content=body, headers={"content-type": "application/json"})


def address(client: httpx.Client, text: str) -> Callable[[], httpx.Response]:
    return lambda: client.get(f"/documents/{quote(text, safe='', errors='replace')}")


def filtered(client: httpx.Client, name: str, text: str) -> Callable[[], httpx.Response]:
    return lambda: client.get(f"/documents?{name}={quote(text, safe='', errors='replace')}")


# --- What must not happen ----------------------------------------------------------------------------------


@contextmanager
def listener() -> Iterator[tuple[str, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield f"http://127.0.0.1:{server.getsockname()[1]}", server


def was_called(server: socket.socket) -> bool:
    try:
        server.accept()
    except BlockingIOError:
        return False
    return True


def files_of(folder: Path) -> set[str]:
    """What somebody could have written: all but what running and testing Python leaves behind."""
    found = set()
    for here, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "__pycache__"]
        found |= {str(Path(here, name)) for name in files if not name.startswith(".coverage")}
    return found


async def chunks_with(words: str, database_url: str) -> int:
    connection = await asyncpg.connect(database_url.replace("asyncpg://", "postgres://", 1))
    try:
        return int(await connection.fetchval("SELECT count(*) FROM chunks WHERE text LIKE $1", f"%{words}%"))
    finally:
        await connection.close()


def attack_everything(attack: Attack, canary: Path, url: str, *, quick: bool) -> None:
    strings = A_FEW_STRINGS if quick else json.loads((corpora(".") / "blns.json").read_text())
    with ThreadPoolExecutor(8) as threads:
        # So many at once, as a file may be large, and the next ones are made while these are read.
        under_way: list[Any] = []

        def send(function: Callable[..., None], *arguments: Any) -> None:
            while len(under_way) >= 32:
                under_way.pop(0).result()
            under_way.append(threads.submit(function, *arguments))

        if not quick:
            for file in from_corpora(canary, url):
                send(attack.upload, file)
        for file in hostile_files(canary=str(canary), url=url, slow=not quick):
            send(attack.upload, file)
        send_strings(attack, strings, send)
        for each in under_way:
            each.result()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="no corpora, and nothing that takes seconds")
    quick = parser.parse_args().quick
    os.environ |= {
        "EMBEDDER": "hash",
        "PARSE_TIMEOUT_S": str(PARSE_TIMEOUT_S),
        "PARSE_MEMORY_MB": str(PARSE_MEMORY_MB),
        "LOG_FORMAT": "json",
    }
    print(f"{PARSE_TIMEOUT_S} s and {PARSE_MEMORY_MB} MB for each file; {conditions()}")
    begun, words = time.monotonic(), secrets.token_hex(16)
    before = files_of(ROOT)
    with tempfile.TemporaryDirectory(prefix="sluice-hostile-") as folder, listener() as (url, server):
        canary = Path(folder) / "canary"
        canary.write_text(f"<a>{words}</a>")
        canary.chmod(0o644)
        os.environ["TMPDIR"] = folder
        with service(workers=1 if quick else 2) as stack:
            worker = stack._programs[1]._process
            # The API closes idle connections after five seconds; ours are not used for as long as that.
            limits = httpx.Limits(keepalive_expiry=2)
            url_of_api = stack.options.url
            with httpx.Client(base_url=url_of_api, timeout=120, trust_env=False, limits=limits) as client:
                attack = Attack(client)
                attack_everything(attack, canary, url, quick=quick)
                unfinished = client.get("/documents", params={"status": ["PENDING", "PROCESSING"]}).json()
            wrong = attack.wrong
            if asyncio.run(chunks_with(words, stack.settings.DATABASE_URL)):
                wrong.append("the file that entities point at was read")
            if stack._programs[1]._process is not worker or worker is None:
                wrong.append("a worker died")
        if worker is not None and worker.exit_code != 0:
            wrong.append(f"the worker ended with {worker.exit_code}")
        if was_called(server):
            wrong.append("somebody called the listener that entities point at")
        left = files_of(Path(folder)) - {str(canary)}
        wrong += [f"written outside the data folder: {name}" for name in left | (files_of(ROOT) - before)]
        wrong += [f"not final: {document}" for document in unfinished["documents"]]
        wrong += [
            f"{path} was written" for path in (Path("/tmp/breached"), ROOT / "breached") if path.exists()
        ]
    print("\n".join(attack.table()))
    documents = sum(outcomes.codes.total() for outcomes in attack.outcomes.values())
    others = sum(outcomes.count for outcomes in attack.outcomes.values()) - documents
    print(f"\n{documents} documents and {others} other requests in {time.monotonic() - begun:.0f} s")
    print("\n".join(["", "WRONG:", *wrong[:50]]) if wrong else "nothing went wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
