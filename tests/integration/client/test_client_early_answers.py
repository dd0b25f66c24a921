"""A body is refused that is still on its way, and the server hangs up: who sends it is told why, at once."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app.cli.commands import cli
from app.client import AsyncSluice, Item, Outcome, Retries, Sluice, errors
from app.client.calls import Call, Prepared
from app.core.queue import broker
from tests.processes import APIProcess, api_process, eventually

MEBIBYTE = 1024 * 1024

#: More than all sockets and all patience on the way: 16 MiB of it are read when it has been refused.
LARGE_BYTES = 64 * MEBIBYTE

KEY = "a-key-of-more-than-32-characters-0123456789"
LIMITS = {
    "MAX_UPLOAD_BYTES": str(4 * MEBIBYTE),
    "MAX_JSON_BYTES": str(2 * MEBIBYTE),
    "MAX_BATCH_BYTES": str(4 * MEBIBYTE),
    "BODY_PATIENCE_S": "0.5",
    "API_KEYS": KEY,
}

#: Should anything be sent again, it is counted, and not waited for.
QUICK = Retries(tries=3, first_pause_s=0.001)


@pytest.fixture(scope="module")
def api(migrated: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[APIProcess]:
    folder = tmp_path_factory.mktemp("api")
    with api_process({**LIMITS, "STORAGE_URL": f"file://{folder / 'content'}"}, folder / "log") as process:
        yield process
    broker.flush_all()


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "large.txt"
    path.write_bytes(b"x" * LARGE_BYTES)
    return path


Do = Callable[[Any], Any]


def with_sync(url: str, api_key: str, do: Do) -> Any:
    with Sluice(url, api_key=api_key, retries=QUICK) as client:
        done = do(client)
        return list(done) if isinstance(done, Iterator) else done


def with_async(url: str, api_key: str, do: Do) -> Any:
    async def run() -> Any:
        async with AsyncSluice(url, api_key=api_key, retries=QUICK) as client:
            done = do(client)
            return [each async for each in done] if hasattr(done, "__aiter__") else await done

    return asyncio.run(run())


CLIENTS = pytest.mark.parametrize("with_client", [with_sync, with_async], ids=["threads", "asyncio"])


def answers(api: APIProcess, status: int) -> int:
    """How often the server has answered so."""
    return api.log.count(f'HTTP/1.1" {status} ')


class Unseekable(io.BytesIO):
    def seekable(self) -> bool:
        return False


INGESTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "path": lambda path: {"path": path},
    "content": lambda path: {"content": path.read_bytes(), "name": "large.txt"},
    "open file": lambda path: {"file": io.BytesIO(path.read_bytes()), "name": "large.txt"},
    "pipe": lambda path: {"file": Unseekable(path.read_bytes()), "name": "large.txt"},
    "text": lambda path: {"text": path.read_text()},
}


@CLIENTS
@pytest.mark.parametrize("kind", INGESTS)
def test_a_document_that_is_too_large_is_told_so(
    api: APIProcess, large: Path, with_client: Callable[..., Any], kind: str
) -> None:
    given, before = INGESTS[kind](large), answers(api, 413)
    with pytest.raises(errors.PayloadTooLarge, match="larger than") as told:
        with_client(api.url, KEY, lambda client: client.ingest(**given))
    assert (told.value.status, bool(told.value.hint)) == (413, True)
    assert answers(api, 413) == before + 1  # It was not sent again.


@CLIENTS
def test_it_is_told_every_time(api: APIProcess, large: Path, with_client: Callable[..., Any]) -> None:
    before = answers(api, 413)
    for _ in range(20):
        with pytest.raises(errors.PayloadTooLarge):
            with_client(api.url, KEY, lambda client: client.ingest(path=large))
    assert answers(api, 413) == before + 20


def test_the_command_line_tells_it_too(api: APIProcess, large: Path) -> None:
    before = answers(api, 413)
    environment = {"SLUICE_URL": api.url, "SLUICE_API_KEY": KEY}
    told = CliRunner().invoke(cli, ["ingest", str(large), "--json"], env=environment)
    (file,) = json.loads(told.stdout)["files"]
    assert file["error"]["code"] == "payload_too_large"
    assert answers(api, 413) == before + 1


@CLIENTS
def test_little_of_what_is_refused_is_sent(
    api: APIProcess, large: Path, with_client: Callable[..., Any]
) -> None:
    with large.open("rb") as file:
        with pytest.raises(errors.Unauthorized):
            with_client(api.url, "no key at all", lambda client: client.ingest(file=file))
        assert file.tell() < LARGE_BYTES / 2


@CLIENTS
@pytest.mark.parametrize("kind", INGESTS)
def test_a_key_that_is_wrong_is_told_so(
    api: APIProcess, large: Path, with_client: Callable[..., Any], kind: str
) -> None:
    given, before = INGESTS[kind](large), answers(api, 401)
    with pytest.raises(errors.Unauthorized) as told:
        with_client(api.url, "no key at all", lambda client: client.ingest(**given))
    assert told.value.status == 401
    assert answers(api, 401) == before + 1


def large_call(large: Path, **headers: str) -> Call:
    body = Prepared(content=large.read_bytes(), headers=headers)
    return Call(method="POST", path="/ingest", body=lambda: nullcontext(body))


@CLIENTS
@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({"content-type": "text/plain"}, errors.UnknownBodyType),
        ({"content-type": "application/json", "origin": "https://elsewhere.example"}, errors.CrossOrigin),
    ],
    ids=["415", "403"],
)
def test_what_is_not_taken_at_all_is_told_so(
    api: APIProcess,
    large: Path,
    with_client: Callable[..., Any],
    headers: dict[str, str],
    error: type[errors.SluiceError],
) -> None:
    call = large_call(large, **headers)
    with pytest.raises(error):
        with_client(api.url, KEY, lambda client: client._connection.send(call))


class Stalling(io.BytesIO):
    """A file on a disk that stops until the server has lost its patience."""

    def __init__(self, size_bytes: int, until: Callable[[], bool]) -> None:
        super().__init__(bytes(size_bytes))
        self._until = until

    def read(self, size: int | None = -1, /) -> bytes:
        eventually(self._until)
        return super().read(size)


@CLIENTS
def test_a_body_that_came_too_slowly_is_told_so(api: APIProcess, with_client: Callable[..., Any]) -> None:
    before = answers(api, 408)
    file = Stalling(3 * MEBIBYTE, lambda: answers(api, 408) > before)
    with pytest.raises(errors.RequestTooSlow):
        with_client(api.url, KEY, lambda client: client.ingest(file=file))


# --- Many ---------------------------------------------------------------------------------------------------


def many(large: Path) -> list[Item]:
    """One that goes by itself, a form and lines, each of them too much for a batch."""
    half = 900 * 1024
    files = [Item(content=bytes([65 + n]) * half, name=f"{n}.txt") for n in range(7)]
    texts = [Item(text=chr(65 + n) * half, external_id=str(n)) for n in range(7)]
    return [Item(path=large), *files, *texts]


@CLIENTS
def test_of_many_those_that_are_too_large_are_told_and_the_others_taken(
    api: APIProcess, large: Path, with_client: Callable[..., Any]
) -> None:
    outcomes: list[Outcome] = with_client(api.url, KEY, lambda client: client.ingest_many(many(large)))
    by_index = {outcome.index: outcome for outcome in outcomes}
    assert isinstance(by_index.pop(0).error, errors.PayloadTooLarge)
    assert sorted(by_index) == list(range(1, 15))
    assert all(outcome.document_id for outcome in by_index.values())


@CLIENTS
def test_of_many_each_is_told_that_the_key_is_wrong(
    api: APIProcess, large: Path, with_client: Callable[..., Any]
) -> None:
    before = answers(api, 401)
    outcomes = with_client(api.url, "no key at all", lambda client: client.ingest_many(many(large)))
    assert [type(outcome.error) for outcome in outcomes] == [errors.Unauthorized] * 15
    assert answers(api, 401) == before + 3
