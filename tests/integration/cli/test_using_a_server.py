"""The commands of a person who uses a server, as they are typed, on a real one."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from typer.testing import CliRunner, Result

from app.cli.commands import cli
from app.cli.ingesting.following import Follower
from app.cli.ingesting.report import Result as FileResult
from app.cli.ingesting.tally import Tally
from app.cli.ingesting.walking import File
from app.client import AsyncSluice, Document, Sluice, SluiceError
from app.core.config import Settings
from app.core.database import connect
from app.core.queue import broker
from tests.processes import ROOT, APIProcess, api_process, eventually, worker_process

#: Documents of collections with this embedder wait for their next try.
NO_SERVICE = {"EMBEDDER_URL": "http://127.0.0.1:1/v1", "RETRY_BACKOFF_S": "60"}

DAMAGED = b"%PDF-1.4\nwhat is left of it\n"


@pytest.fixture(scope="module")
def api(migrated: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[APIProcess]:
    """A server that takes documents; nobody reads them until `worker` is there."""
    folder = tmp_path_factory.mktemp("api")
    settings = {"STORAGE_URL": f"file://{folder / 'content'}", **NO_SERVICE}
    with api_process(settings, folder / "log") as process:
        yield process
    broker.flush_all()


@pytest.fixture(scope="module")
def worker(api: APIProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    settings = {"STORAGE_URL": f"file://{api.log_path.parent / 'content'}", **NO_SERVICE}
    options = ("--processes", "1", "--threads", "4")
    with worker_process(settings, tmp_path_factory.mktemp("worker") / "log", *options):
        yield


@pytest.fixture
def sluice(api: APIProcess) -> Iterator[Sluice]:
    with Sluice(api.url) as sluice:
        yield sluice


@pytest.fixture
def place(request: pytest.FixtureRequest) -> str:
    """A collection of this test's own."""
    return request.node.originalname


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "locks").mkdir()
    (tmp_path / "gates.md").write_text("# Gates\n\nThe upper gate opens at six.")
    (tmp_path / "locks/fenn.txt").write_text("The lock at Fenn is closed for repair.")
    return tmp_path


class Typed:
    """Commands in this process: a start of Python for each would take longer than what they do."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __call__(self, *words: object, **how: Any) -> Result:
        return CliRunner().invoke(cli, [str(word) for word in words], env={"SLUICE_URL": self._url}, **how)

    def json(self, *words: object, **how: Any) -> Any:
        """What a command prints as JSON; it has to be all that it prints there."""
        return json.loads(self(*words, "--json", **how).stdout)


@pytest.fixture
def typed(api: APIProcess) -> Typed:
    return Typed(api.url)


def started(url: str, *words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "app.cli", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "SLUICE_URL": url},
    )


async def followed(url: str, document_id: UUID, batch_id: UUID) -> FileResult:
    """What `ingest` learns of a document that was taken in a batch."""
    result = FileResult(File(label="x", external_id="x", size_bytes=1), document_id=document_id)
    given_up: list[SluiceError] = []
    async with AsyncSluice(url) as sluice:
        follower = Follower(sluice, Tally(), given_up.append)
        follower.follow(result, batch_id)
        await follower.finish()
    assert not given_up
    return result


def documents_in(sluice: Sluice, collection: str) -> dict[str | None, Document]:
    return {each.external_id: each for each in sluice.documents(collection=collection)}


def requests_of(api: APIProcess, call: str) -> int:
    return api.log.count(call)


# --- Before there is a worker -------------------------------------------------------------------------------


def test_many_small_files_share_requests(api: APIProcess, typed: Typed, place: str, tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"{number}.txt").write_text(f"Gauge reading number {number}.")
    before = requests_of(api, "/ingest/batch")
    told = typed.json("ingest", tmp_path, "-c", place, "--no-wait")
    assert (told["new"], told["failed"]) == (300, 0)
    batches = requests_of(api, "/ingest/batch")
    assert 1 <= batches - before <= 5
    # All of them once more cost a few looks, and no upload.
    asked = requests_of(api, "HTTP/1.1")
    assert typed.json("ingest", tmp_path, "-c", place, "--no-wait")["unchanged"] == 300
    assert requests_of(api, "/ingest/batch") == batches
    assert 1 <= requests_of(api, "HTTP/1.1") - asked <= 6
    typed("collections", "delete", place, "--yes")


def test_ctrl_c_ends_with_a_summary_and_documents_that_are_safe(
    api: APIProcess, sluice: Sluice, folder: Path
) -> None:
    with started(api.url, "ingest", folder, "-c", "interrupted") as process:
        eventually(lambda: len(documents_in(sluice, "interrupted")) == 2)
        process.send_signal(signal.SIGINT)
        said, noted = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "2 files" in said
    assert "2 new" in said
    assert "2 documents under way: safe" in noted
    assert "Traceback" not in noted


def test_the_same_call_again_goes_on_to_the_end(typed: Typed, worker: None, folder: Path) -> None:
    told = typed.json("ingest", folder, "-c", "interrupted")
    assert told["unchanged"] == 2
    assert {each["status"] for each in told["files"]} == {"COMPLETED"}


# --- Ingest -------------------------------------------------------------------------------------------------


def test_a_folder_is_kept_in_step_by_the_same_call(
    typed: Typed, sluice: Sluice, worker: None, folder: Path, place: str
) -> None:
    first = typed("ingest", folder, "-c", place, "-m", "season=spring", "-m", '{"year": 1905}')
    assert first.exit_code == 0, first.output
    assert "2 files" in first.stdout
    assert documents_in(sluice, place)["locks/fenn.txt"].metadata == {"season": "spring", "year": 1905}
    (folder / "gates.md").write_text("# Gates\n\nThe upper gate opens at seven.")
    (folder / "new.txt").write_text("A new towpath.")
    (folder / "same.txt").write_text("Nothing new.")
    typed("ingest", folder / "same.txt", "-c", place)
    sluice.delete(documents_in(sluice, place)["locks/fenn.txt"].document_id)
    told = typed.json("ingest", folder, "-c", place)
    results = {each["external_id"]: each["result"] for each in told["files"]}
    assert results == {
        "gates.md": "updated",
        "new.txt": "new",
        "same.txt": "unchanged",
        "locks/fenn.txt": "new",  # It was deleted there, and is still here.
    }
    assert documents_in(sluice, place)["gates.md"].version == 2


def test_metadata_of_unchanged_files_are_amended(
    typed: Typed, sluice: Sluice, worker: None, folder: Path, place: str
) -> None:
    said = ("ingest", folder, "-c", place, "-m", '{"season": "summer", "by": {"name": "Fenn"}}')
    assert typed.json(*said)["new"] == 2
    assert typed.json(*said)["unchanged"] == 2
    winter = typed("ingest", folder, "-c", place, "-m", "season=winter")
    assert "2 amended" in winter.stdout
    known = documents_in(sluice, place)["gates.md"]
    assert (known.metadata, known.version) == ({"season": "winter", "by": {"name": "Fenn"}}, 1)
    assert typed.json("ingest", folder, "-c", place)["unchanged"] == 2
    # What was amended stays with a new version, if that has no metadata of its own.
    (folder / "gates.md").write_text("# Gates\n\nThe upper gate opens at seven.")
    typed("ingest", folder, "-c", place)
    assert documents_in(sluice, place)["gates.md"].metadata == known.metadata


def test_what_is_known_by_its_content_is_amended(typed: Typed, sluice: Sluice, place: str) -> None:
    for season in ("summer", "winter"):
        told = typed.json("ingest", "-", "-c", place, "-m", f"season={season}", "--no-wait", input="Gates.")
    assert told["amended"] == 1
    assert documents_in(sluice, place)[None].metadata == {"season": "winter"}


def test_a_file_that_fails_is_told_with_code_and_hint_each_time(
    typed: Typed, worker: None, folder: Path, place: str
) -> None:
    (folder / "cut.pdf").write_bytes(DAMAGED)
    (folder / ".hidden").write_text("no")
    for _ in range(2):
        answer = typed("ingest", folder, "-c", place)
        assert answer.exit_code == 1
        assert "corrupt_file (1 file)" in answer.stdout
        assert "cut.pdf" in answer.stdout
        assert "→ Open the file in the program that made it" in answer.stdout
        assert "hidden: its name begins with a dot: .hidden (1)" in answer.stderr


def test_documents_that_wait_for_their_next_try_say_when_and_why(
    api: APIProcess, typed: Typed, sluice: Sluice, worker: None, folder: Path
) -> None:
    assert typed("collections", "create", "waits", "--embedder", "openai").exit_code == 0
    with started(api.url, "ingest", folder / "gates.md", "-c", "waits") as process:
        assert process.stderr is not None
        told = next(line for line in process.stderr if "next try" in line)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert "1 waits for its next try at " in told
    assert "The embedding service cannot be reached" in told
    document = documents_in(sluice, "waits")["gates.md"]
    shown = typed("show", document.document_id).stdout
    assert "next try" in shown
    assert "embedder_unavailable: The embedding service cannot be reached" in shown
    error = sluice.attempts(document.document_id)[0].error
    assert error is not None
    assert error.hint in shown
    typed("collections", "delete", "waits", "--yes")


def test_a_file_whose_name_is_no_utf8_has_to_be_renamed(typed: Typed, place: str, tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt")).write_text("The café at the lock.")
    answer = typed("ingest", tmp_path, "-c", place)
    assert answer.exit_code == 1
    assert "Its name is no UTF-8" in answer.stdout
    assert "Rename the file" in answer.stdout


def test_a_large_file_goes_by_itself(typed: Typed, sluice: Sluice, place: str, tmp_path: Path) -> None:
    large = tmp_path / "large.txt"
    large.write_text("The level of the upper pound was read at noon. " * 30_000)
    assert typed("ingest", large, "-c", place, "--no-wait").exit_code == 0
    assert documents_in(sluice, place)["large.txt"].size_bytes == large.stat().st_size
    assert typed.json("ingest", large, "-c", place, "--no-wait")["unchanged"] == 1
    typed("cancel", "-c", place, "--yes")


@pytest.mark.parametrize("closed_with", [None, '{"code": "database_busy", "message": "", "hint": ""}'])
def test_a_document_that_its_batch_does_not_know_is_followed_by_itself(
    api: APIProcess, sluice: Sluice, worker: None, settings: Settings, closed_with: str | None
) -> None:
    """As when the database went away before what had been taken was written down."""
    document_id = sluice.ingest(content=DAMAGED, name="a.pdf", external_id=f"a {closed_with}").document_id
    batch_id = uuid4()

    async def note() -> None:
        connection = await connect(settings)
        await connection.execute(
            "INSERT INTO batches (id, closed_at, error) VALUES ($1, now(), $2::jsonb)", batch_id, closed_with
        )
        await connection.close()

    if closed_with is not None:  # Otherwise, there is not even the batch.
        asyncio.run(note())
    result = asyncio.run(followed(api.url, document_id, batch_id))

    assert result.trouble is not None
    assert (result.status, result.trouble.code) == ("FAILED", "corrupt_file")


def test_standard_input_is_a_document(typed: Typed, sluice: Sluice, worker: None, place: str) -> None:
    answer = typed("ingest", "-", "-c", place, "--name", "notes.md", input="# Notes\n\nThe weir is dry.")
    assert answer.exit_code == 0, answer.output
    assert documents_in(sluice, place)["notes.md"].status == "COMPLETED"


def test_a_watched_folder_is_followed_until_ctrl_c(
    api: APIProcess, sluice: Sluice, worker: None, folder: Path
) -> None:
    words = ("ingest", folder, "-c", "watched", "--watch", "--delete", "--json")
    with started(api.url, *words) as process:
        assert process.stdout is not None
        first = [json.loads(process.stdout.readline()) for _ in range(2)]
        (folder / "weir.txt").write_text("The weir is dry.")
        added = json.loads(process.stdout.readline())
        (folder / "locks/fenn.txt").write_bytes(b"")
        emptied = json.loads(process.stdout.readline())
        (folder / "gates.md").unlink()
        removed = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert {each["result"] for each in first} == {"new"}
    assert (added["external_id"], added["result"], added["status"]) == ("weir.txt", "new", "COMPLETED")
    assert emptied == {"external_id": "locks/fenn.txt", "result": "left_out"}
    assert removed == {"external_id": "gates.md", "result": "deleted"}
    assert process.returncode == 130
    assert set(documents_in(sluice, "watched")) == {"weir.txt", "locks/fenn.txt"}


def test_two_files_of_one_name_keep_others_up_only_until_that_is_mended(
    api: APIProcess, sluice: Sluice, worker: None, tmp_path: Path
) -> None:
    folders = [tmp_path / "east", tmp_path / "west"]
    for folder in folders:
        folder.mkdir()
    (folders[0] / "first.txt").write_text("The east gate is the first.")
    with started(api.url, "ingest", *folders, "-c", "clash", "--watch", "--json") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        for folder in folders:
            (folder / "same.txt").write_text(f"The gate of the {folder.name}.")
        (folders[0] / "other.txt").write_text("The lock keeper has other things to do.")
        told = process.stderr.readline()
        while "same.txt" not in told:
            told = process.stderr.readline()
        (folders[1] / "same.txt").unlink()
        sent = {json.loads(process.stdout.readline())["external_id"] for _ in range(2)}
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert sent == {"same.txt", "other.txt"}


def test_the_second_ctrl_c_does_not_wait_for_a_server_that_says_nothing(folder: Path) -> None:
    nothing = b'{"code": "collection_not_found", "retryable": false, "detail": "", "hint": ""}'
    head = b"HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(nothing)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with started(url, "ingest", folder) as process, ExitStack() as silent:
            with server.accept()[0] as looking:
                looking.recv(4096)
                looking.sendall(head + nothing)
            silent.enter_context(server.accept()[0])  # The upload.
            process.send_signal(signal.SIGINT)
            assert process.stderr is not None
            assert "Ctrl-C again stops at once" in process.stderr.readline()
            process.send_signal(signal.SIGINT)
            said, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "2 not sent" in said


# --- The others ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def filled(api: APIProcess, worker: None, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A collection with a document that can be found and one that failed."""
    folder = tmp_path_factory.mktemp("filled")
    (folder / "gates.md").write_text("# Gates\n\nThe upper gate opens at six, the lower one at seven.")
    (folder / "cut.pdf").write_bytes(DAMAGED)
    assert Typed(api.url)("ingest", folder, "-c", "filled").exit_code == 1
    return "filled"


def id_of(typed: Typed, collection: str, name: str) -> str:
    (document,) = typed.json("documents", "-c", collection, "--external-id", name)
    return str(document["document_id"])


def test_hits_say_where_they_stand(typed: Typed, filled: str) -> None:
    answer = typed("search", "upper gate", "-c", filled, "--mode", "keyword")
    assert "filled/gates.md › Gates" in answer.stdout
    assert "The upper gate opens at six" in answer.stdout
    (hit,) = typed.json("search", "upper gate", "-c", filled, "--mode", "keyword")
    assert hit["citation"]["headings"] == ["Gates"]
    none = {"field": "metadata.season", "eq": "winter"}
    assert typed.json("search", "gate", "-c", filled, "--filter", json.dumps(none)) == []


def test_hits_in_files_of_one_name_say_which_of_them(typed: Typed, tmp_path: Path) -> None:
    for folder in ("lower", "upper"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "README.md").write_text(f"The {folder} gate opens at six.")
    assert typed("ingest", tmp_path, "-c", "readmes").exit_code == 0

    told = typed("search", "gate", "-c", "readmes").stdout
    hits = typed.json("search", "gate", "-c", "readmes")

    assert "readmes/lower/README.md\n" in told
    assert "readmes/upper/README.md\n" in told
    assert {hit["external_id"] for hit in hits} == {"lower/README.md", "upper/README.md"}


def test_documents_are_listed_and_shown(typed: Typed, filled: str) -> None:
    listed = typed("documents", "-c", filled, "--status", "failed")
    assert "cut.pdf: corrupt_file" in listed.stdout
    assert "gates.md" not in listed.stdout
    shown = typed("show", id_of(typed, filled, "cut.pdf"))
    assert "corrupt_file: " in shown.stdout
    assert "Open the file in the program that made it" in shown.stdout
    assert "corrupt_file while parsing" in shown.stdout
    assert typed.json("show", id_of(typed, filled, "gates.md"))["attempts"][0]["outcome"] == "completed"


def test_documents_of_one_title_are_told_apart_by_their_files(
    typed: Typed, sluice: Sluice, place: str
) -> None:
    for name in ("lower.md", "upper.md"):
        sluice.ingest(content=f"The {name} gate.".encode(), name=name, title="Gates", collection=place)
    listed = typed("documents", "-c", place).stdout
    assert f"{place}/Gates (lower.md)" in listed
    assert f"{place}/Gates (upper.md)" in listed


def test_what_was_sent_and_what_was_read_are_printed_and_saved(
    typed: Typed, worker: None, place: str, tmp_path: Path
) -> None:
    page = b"<html><body><h1>Gates</h1><p>The upper gate opens at six.</p></body></html>\r\n"
    (tmp_path / "gates.html").write_bytes(page)
    typed("ingest", tmp_path / "gates.html", "-c", place)
    document = id_of(typed, place, "gates.html")
    text = b"Gates\n\nThe upper gate opens at six."

    assert typed("content", document).stdout_bytes == page
    assert typed("content", document, "--text").stdout_bytes == text
    assert typed.json("content", document, "--text") == {"document_id": document, "text": text.decode()}
    for wanted, options in ((page, ()), (text, ("--text",))):
        file = tmp_path / "saved"
        answer = typed("content", document, "-o", file, *options)
        assert (answer.exit_code, answer.stdout) == (0, "")
        assert file.read_bytes() == wanted
    told = typed.json("content", document, "-o", file)
    assert told == {"document_id": document, "path": str(file), "size_bytes": len(page)}


def test_text_that_is_not_there_is_told_in_the_words_of_the_command_line(typed: Typed, filled: str) -> None:
    failed = id_of(typed, filled, "cut.pdf")
    answer = typed("content", failed, "--text")
    assert answer.exit_code == 1
    assert f"it is FAILED. `sluice show {failed}` tells" in answer.stderr
    assert "GET /" not in answer.stderr


def test_a_zip_is_told_to_be_unpacked(typed: Typed, place: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "docs.zip", "w") as archive:
        archive.writestr("gates.md", "The upper gate opens at six.")
    assert "→ Unpack it" in typed("ingest", tmp_path, "-c", place).stdout


def test_a_file_that_cannot_be_saved_leaves_the_one_that_was_there(
    typed: Typed, filled: str, tmp_path: Path
) -> None:
    file = tmp_path / "saved"
    file.write_text("before")
    missing = typed("content", "00000000-0000-7000-8000-000000000000", "-o", file)
    assert missing.exit_code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]
    assert file.read_text() == "before"

    nowhere = typed("content", id_of(typed, filled, "gates.md"), "-o", tmp_path / "none" / "saved")
    assert nowhere.exit_code == 2
    assert "No such file or directory" in nowhere.stderr
    a_folder = typed("content", id_of(typed, filled, "gates.md"), "-o", tmp_path)
    assert a_folder.exit_code == 2
    assert "is a directory" in a_folder.stderr
    bytes_as_json = typed("content", id_of(typed, filled, "gates.md"), "--json")
    assert (bytes_as_json.exit_code, bytes_as_json.stdout) == (2, "")


def test_title_and_metadata_are_amended(typed: Typed, worker: None, place: str, folder: Path) -> None:
    typed("ingest", folder, "-c", place, "-m", "season=summer", "-m", "place=Fenn")
    document = id_of(typed, place, "gates.md")
    words = ("--title", "Upper gate", "-m", "season=winter", "-m", '{"year": 2026}', "--remove", "place")

    assert "Upper gate" in typed("amend", document, *words).stdout
    shown = typed.json("show", document)
    assert (shown["title"], shown["metadata"]) == ("Upper gate", {"season": "winter", "year": 2026})
    assert typed.json("amend", document, "--title", "")["title"] is None
    assert typed.json("show", document)["metadata"] == {"season": "winter", "year": 2026}
    nothing = typed("amend", document)
    assert nothing.exit_code == 2
    assert "nothing to change" in nothing.stderr


def test_one_that_cannot_be_steered_keeps_no_other_from_it(typed: Typed, filled: str) -> None:
    unknown = "0199c0de-7a11-7c4e-8a55-0242ac120002"
    failed, good = id_of(typed, filled, "cut.pdf"), id_of(typed, filled, "gates.md")
    told = typed("retry", unknown, good, failed)
    assert told.exit_code == 1
    assert f"There is no document {unknown}" in told.stdout
    assert f"{good} is COMPLETED: nothing was changed" in told.stdout
    assert f"{failed} queued again" in told.stdout
    assert typed("events", failed).exit_code == 1  # Until it has failed again.


def test_what_failed_of_something_else_is_not_called_cancelled(
    typed: Typed, sluice: Sluice, filled: str, place: str
) -> None:
    failed = id_of(typed, filled, "cut.pdf")
    assert f"{failed} is FAILED: nothing was changed" in typed("cancel", failed).stdout
    sluice.put_collection(place, embedder="openai")  # There is none: it waits for its next try.
    waits = sluice.ingest("The upper gate opens at six.", collection=place).document_id
    assert f"{waits} cancelled" in typed("cancel", waits).stdout


def test_deleting_many_is_asked_for(typed: Typed, sluice: Sluice, place: str) -> None:
    for number in range(3):
        sluice.ingest(f"Reading {number}.", collection=place)
    refused = typed("delete", "-c", place)
    assert refused.exit_code == 2
    assert "Delete 3 documents of" in refused.stderr
    assert "add --yes" in refused.stderr
    assert typed.json("delete", "-c", place, "--yes") == {"deleted": 3}


def test_collections_are_made_changed_and_deleted(typed: Typed, place: str) -> None:
    assert typed.json("collections", "create", place, "--language", "german")["language"] == "german"
    assert typed("collections", "create", place).exit_code == 2
    assert typed.json("collections", "set", place, "--chunk-tokens", 100)["chunk_tokens"] == 100
    assert place in typed("collections", "list").stdout
    assert "chunk tokens  100" in typed("collections", "show", place).stdout
    assert typed("collections", "delete", place, "--yes").exit_code == 0


def test_the_status_is_good_while_a_worker_is_alive(typed: Typed, worker: None) -> None:
    answer = typed("status")
    assert answer.exit_code == 0, answer.output
    assert "takes documents" in answer.stdout
    assert typed.json("status")["workers"]


def test_names_are_shown_letter_by_letter(typed: Typed, worker: None, place: str, tmp_path: Path) -> None:
    (tmp_path / "report [final].txt").write_text("The report on the gates is final.")
    (tmp_path / "cut [").mkdir()
    (tmp_path / "cut [" / "b] off.pdf").write_bytes(DAMAGED)
    assert "cut [/b] off.pdf" in typed("ingest", tmp_path, "-c", place).stdout
    listed = typed("documents", "-c", place)
    assert f"{place}/report [final].txt" in listed.stdout
    assert f"{place}/cut [/b] off.pdf: corrupt_file" in listed.stdout
    shown = typed("show", id_of(typed, place, "cut [/b] off.pdf"))
    assert "cut [/b] off.pdf" in shown.stdout
    assert "[final].txt" in typed("search", "report", "-c", place).stdout


# --- How they end -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["status", "--url", "http://127.0.0.1:1"], 3, "No Sluice answers at http://127.0.0.1:1"),
        (["ingest", "samples", "--url", "http://127.0.0.1:1"], 3, "No Sluice answers at"),
        (["status", "--url", "nonsense"], 2, "'nonsense' is no URL of a server"),
        (["ingest", "nowhere.pdf"], 2, "nowhere.pdf: No such file or directory"),
        (["ingest", "samples/README.md", "--watch"], 2, "--watch is for folders"),
        (["ingest", "samples", "--delete"], 2, "--delete goes with --watch"),
        (["ingest", "app/cli", "app/client", "--watch"], 2, "would both be the document '__init__.py'"),
        (["search", "gate", "--filter", "["], 2, "is no JSON"),
        (["retry"], 2, "Give ids of documents, or options that say which."),
        (["retry", "--all", "0199c0de-7a11-7c4e-8a55-0242ac120002"], 2, "Give either ids of documents or"),
        (["--url", "http://127.0.0.1:1", "status"], 2, "Options go behind the command, as in"),
        (["search", "-refund"], 2, "sluice search -- -refund`"),
        (["search", "gate", "-c", "nope"], 1, "There is no collection 'nope'."),
        (["documents", "-c", "nope"], 1, "There is no collection 'nope'."),
        (["documents", "-c", "nope", "--all"], 1, "There is no collection 'nope'."),
        (["delete", "-c", "nope", "-y"], 1, "There is no collection 'nope'."),
        (["retry", "-c", "nope"], 1, "There is no collection 'nope'."),
        (["retry", "--code", "no_txt"], 2, "There is no code 'no_txt'. Perhaps no_text is meant."),
        (["delete", "--code", "no_txt", "-y"], 2, "There is no code 'no_txt'."),
        (["documents", "--code", "no_txt"], 2, "There is no code 'no_txt'."),
        (["documents", "--code", "no_txt", "--all"], 2, "There is no code 'no_txt'."),
        (["show", "0199c0de-7a11-7c4e-8a55-0242ac120002"], 1, "There is no document 0199c0de"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_a_code(
    typed: Typed, words: Sequence[str], code: int, sentence: str
) -> None:
    answer = typed(*words)
    assert answer.exit_code == code
    assert sentence in answer.stderr
    assert answer.stdout == "" or words[0] == "ingest"


def test_what_is_wrong_with_a_request_is_told_once(typed: Typed) -> None:
    answer = typed("search", "gate", "--filter", '{"field": "external_id", "eqq": 2}')
    assert answer.exit_code == 1
    assert answer.stderr.count("there is no such field") == 1


def test_an_error_is_json_where_that_is_asked_for(typed: Typed) -> None:
    told = typed.json("show", "0199c0de-7a11-7c4e-8a55-0242ac120002")
    assert told["error"]["code"] == "document_not_found"


@pytest.mark.parametrize("place", ["127.0.0.1:1", ":no-port", "127.0.0.1:1/sesame"])
@pytest.mark.parametrize("words", [["status"], ["status", "--json"], ["ingest", "samples", "--json"]])
def test_secrets_are_not_in_what_is_printed(typed: Typed, words: Sequence[str], place: str) -> None:
    answer = typed(*words, "--url", f"http://keeper:tow-path@{place}", "--api-key", "sesame")
    assert answer.exit_code in {2, 3}
    assert "tow-path" not in answer.output
    assert "sesame" not in answer.output


def test_a_reader_that_leaves_is_no_error(api: APIProcess, filled: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.run(
        [sys.executable, "-m", "app.cli", "documents", "-c", filled],
        stdout=writing,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "SLUICE_URL": api.url},
        check=False,
    )
    os.close(writing)
    assert (process.returncode, process.stderr) == (0, b"")


def on_a_terminal(url: str, *words: object, exit_code: int = 0) -> str:
    """What a person sees."""
    ours, theirs = os.openpty()
    process = subprocess.run(
        [sys.executable, "-m", "app.cli", *map(str, words)],
        stdout=theirs,
        stderr=theirs,
        cwd=ROOT,
        env={**os.environ, "SLUICE_URL": url, "TERM": "xterm-256color", "NO_COLOR": ""},
        check=False,
    )
    os.close(theirs)
    said = os.read(ours, 65536).decode()
    os.close(ours)
    assert process.returncode == exit_code, said
    return said


def test_a_terminal_gets_colours(api: APIProcess, filled: str) -> None:
    assert "\x1b[1;33mupper" in on_a_terminal(api.url, "search", "upper gate", "-c", filled)


def test_a_terminal_is_neither_steered_by_a_document_nor_filled_with_bytes(
    api: APIProcess, typed: Typed, filled: str, place: str, tmp_path: Path
) -> None:
    (tmp_path / "bell.txt").write_text("The bell \u202e rings\x9b31m at the gate of Fenn.\n")
    ingested = typed("ingest", tmp_path, "-c", place)
    assert ingested.exit_code == 0, ingested.output

    said = on_a_terminal(api.url, "content", id_of(typed, place, "bell.txt"))
    refused = on_a_terminal(api.url, "content", id_of(typed, filled, "cut.pdf"), exit_code=2)

    assert "The bell \ufffd rings\ufffd31m at the gate of Fenn." in said
    assert "application/pdf, which no terminal shows" in " ".join(refused.split())
