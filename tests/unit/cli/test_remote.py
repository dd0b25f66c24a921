"""What commands for a server print and read, and how quickly they start, without one."""

from __future__ import annotations

import inspect
import io
import os
import re
import subprocess
import sys
import tomllib
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from time import monotonic
from types import SimpleNamespace
from typing import Any, get_args

import pytest
import typer
from rich.console import Console
from typer.rich_utils import rich_render_text
from typer.testing import CliRunner

from app import __version__
from app.cli.commands import Commands, cli
from app.cli.ingesting.screen import line, view, waiting
from app.cli.ingesting.tally import Tally, Upload, Waiting
from app.cli.lazy import Entry
from app.cli.remote.collections import EmbedderName
from app.cli.remote.command import Waiting as WaitingForServer
from app.cli.remote.completion import document_ids
from app.cli.remote.ingest import metadata_of
from app.cli.remote.options import WrongCall, moment_or_age
from app.cli.remote.output import Output, clean
from app.cli.remote.search import asks_for_nothing, passage_of
from app.cli.remote.show import row as attempt_row
from app.cli.remote.status import workers
from app.client import Attempt, Hit, TransientError
from app.client.answers import Highlight
from app.core.config import EmbedderName as Names

ROOT = Path(__file__).parents[3]
ENTRIES = {name: entry for section in Commands.sections.values() for name, entry in section.items()}

#: What the server is made of, and takes long to import.
SERVERS = {"fastapi", "tortoise", "dramatiq", "asyncpg", "uvicorn", "ctranslate2", "numpy", "app.core.config"}


@pytest.mark.parametrize(("name", "entry"), ENTRIES.items())
def test_a_command_is_listed_as_it_describes_itself(name: str, entry: Entry) -> None:
    found = getattr(import_module(f"app.cli.{entry.module}"), name)
    said = found.info.help if isinstance(found, typer.Typer) else inspect.getdoc(found)
    assert said.splitlines()[0] == entry.summary


def test_commands_for_a_server_import_nothing_of_it() -> None:
    remote = sorted({entry.module for entry in ENTRIES.values() if entry.is_remote})
    code = "import sys; " + "; ".join(f"import app.cli.{module}" for module in remote)
    code += "; import app.cli.commands; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "app.client" in done.stdout.split()
    assert not SERVERS & set(done.stdout.split())


def test_paths_are_meant_from_where_it_was_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("SLUICE_CALLED_FROM", str(tmp_path))
    (tmp_path / "cut.pdf").touch()
    told = CliRunner().invoke(cli, ["ingest", "gone.pdf", "cut.pdf"])
    assert "gone.pdf: No such file" in told.output
    assert Path.cwd() == tmp_path


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(shell: str) -> None:
    assert "_SLUICE_COMPLETE" in CliRunner().invoke(cli, ["completion", shell]).stdout


def test_a_shell_is_told_the_commands_that_begin_so() -> None:
    asked = {"_SLUICE_COMPLETE": "complete_bash", "COMP_WORDS": "sluice se", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "app.cli"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, **asked},
    )
    assert done.stdout.split() == ["search"]


def test_times_are_moments_or_ages() -> None:
    now = datetime.now(UTC)
    assert abs(moment_or_age("2h") - (now - timedelta(hours=2))) < timedelta(seconds=5)
    assert moment_or_age("2026-11-24T09:00+00:00") == datetime(2026, 11, 24, 9, tzinfo=UTC)
    with pytest.raises(WrongCall, match="is no time"):
        moment_or_age("yesterday")


def test_metadata_are_pairs_and_objects_together() -> None:
    assert metadata_of(["a=b=c", '{"year": 1905}', "a=d"]) == {"a": "d", "year": 1905}
    assert metadata_of([]) is None
    for wrong in ("season", "=spring", "{season}"):
        with pytest.raises(WrongCall):
            metadata_of([wrong])


def test_other_peoples_words_cannot_steer_a_terminal() -> None:
    assert clean("be\x1b[31mcause\n of \x07it") == "be [31mcause of it"


def test_names_with_brackets_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    out, name = Output(), "[b]report [/final] draft[/b] :lock:.txt"
    out.say(name)
    out.note(name)
    out.table(("document", name), [["id", name]])
    out.pairs([(name, name)])
    said, noted = capsys.readouterr()
    assert said.count(name) == 5
    assert noted == f"{name}\n"


def test_names_of_collections_stay_where_there_is_little_room(capsys: pytest.CaptureFixture[str]) -> None:
    columns, rows = ("collection", "documents", "size"), [["gates-of-the-canal", "12", "34 MB"]]
    out = Output()
    for width, shown in ((40, 3), (35, 2), (10, 1)):
        out.results = Console(file=sys.stdout, width=width)
        out.table(columns, rows, keeps_first=True)
        said = "".join(capsys.readouterr().out.split())
        assert said.startswith("".join(columns[:shown]))
        assert said.endswith("".join(rows[0][:shown]).replace(" ", ""))


def test_of_what_a_worker_holds_a_few_are_told() -> None:
    now = datetime.now(UTC)
    held = [SimpleNamespace(since=now, stage="parsing", title=f"{n}.txt", document_id="") for n in range(65)]
    busy: Any = SimpleNamespace(name="host:1", held=held)
    told = list(workers([busy]))
    assert len(told) == 7
    assert told[-1][1].plain.strip() == "+ 60 more"


def test_stages_are_told_in_their_order() -> None:
    attempt = Attempt(
        attempt=1,
        version=1,
        worker="w",
        started_at=datetime.now(UTC),
        ended_at=datetime.now(UTC),
        outcome="completed",
        stage=None,
        stage_seconds={"parsing": 1, "storing": 2, "chunking": 3, "embedding": 4},
        error=None,
    )
    assert attempt_row(attempt)[-1] == "parsing 1.0 s, chunking 3.0 s, embedding 4.0 s, storing 2.0 s"


def test_a_server_that_is_asked_again_is_told_once_with_its_reason(
    capsys: pytest.CaptureFixture[str],
) -> None:
    waiting = WaitingForServer(Output(secrets=["hush"]))
    waiting(TransientError("It is short."), 0.5)
    for _ in range(3):
        waiting(TransientError("The model of hush is away."), 2)
    told = capsys.readouterr()
    assert (told.out, told.err) == (
        "",
        "The server is not ready, and is asked again: The model of … is away.\n",
    )


def test_rows_of_a_table_stay_rows() -> None:
    text = "Parts\nof it:\n| no | part |\n| 366 | weir |\n\nAll\nof them."
    weir = Highlight(start=text.index("weir"), end=text.index("weir") + 4)
    found = Hit.model_construct(text=text, highlights=[weir])
    told = "Parts of it:\n| no | part |\n| 366 | weir |\nAll of them."
    assert passage_of(found, keeps_rows=True).plain == told
    assert passage_of(found).plain == " ".join(told.split("\n"))


def test_every_embedder_of_the_server_can_be_chosen() -> None:
    assert {each.value for each in EmbedderName} == set(get_args(Names))


def test_the_version_is_told() -> None:
    for words in (["version"], ["--version"]):
        assert CliRunner().invoke(cli, words).stdout == f"sluice {__version__}\n"


@pytest.mark.parametrize(
    ("query", "is_nothing"),
    [("-refund", True), ('-"gate fee" -refund', True), ("fee -refund", False), ("e-mail", False)],
)
def test_a_question_of_exclusions_alone_is_known(query: str, is_nothing: bool) -> None:
    assert asks_for_nothing(query) is is_nothing


def test_shells_are_told_names_with_brackets_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    document = SimpleNamespace(
        document_id="0199", status="PENDING", external_id=None, name="[b] [/final].txt"
    )
    server = SimpleNamespace(documents=lambda **_: [document])
    monkeypatch.setattr("app.cli.remote.completion._asked", lambda question: question(server))
    ((word, told),) = document_ids("01")
    assert (word, rich_render_text(told)) == ("0199", "PENDING [b] [/final].txt")


def test_names_that_are_no_utf8_stay_json(capfd: pytest.CaptureFixture[str]) -> None:
    Output(as_json=True).json_line({"path": "caf\udce9.txt"})
    assert capfd.readouterr().out == '{"path":"caf\\udce9.txt"}\n'


def test_the_live_view_fits_into_80_columns(tmp_path: Path) -> None:
    tally = Tally(total=10_000, to_send=10_000, to_send_bytes=10**10, sent=5_000, sent_bytes=5 * 10**9)
    tally.sending_at = tally.followed_at = monotonic() - 100
    tally.to_follow, tally.refused = 5_000, 12
    tally.finals[None], tally.failures[None] = 4_000, 34
    tally.stages.update(parsing=12, embedding=11, storing=3)
    out = io.StringIO()
    Console(file=out, width=80).print(view(tally, waits=True))
    lines = out.getvalue().splitlines()
    assert len(lines) == 3
    assert all(len(each) <= 80 for each in lines)
    assert "5,000 of 10,000" in lines[0]
    assert "left" in lines[0]
    assert "46 failed" in lines[1]
    assert "parsing 12 · embedding 11 · storing 3" in lines[2]
    assert line(tally, waits=True).startswith("sent 5,000 of 10,000 (4.7 GB), done 4,000 of 5,000, 46 failed")


def test_who_waits_for_documents_is_told_that_they_wait_and_why(tmp_path: Path) -> None:
    next_try_at = datetime(2026, 11, 24, 9, 30, 15).astimezone()
    why = "The embedding service cannot be reached: " + "nobody answers, " * 10
    tally = Tally(total=1, to_follow=1, waiting=Waiting(1, next_try_at, why))
    tally.sending_at = monotonic()
    told = "1 waits for its next try at 09:30:15: The embedding service cannot be reached"
    assert f"0 failed; {told}" in line(tally, waits=True)
    out = io.StringIO()
    Console(file=out, width=80).print(view(tally, waits=True))
    assert told[:70] in out.getvalue().splitlines()[-1]
    assert all(len(each) <= 80 for each in out.getvalue().splitlines())
    assert waiting(Waiting(3, next_try_at, "")) == "3 wait for their next try, the first at 09:30:15"


def test_bytes_of_a_large_file_are_counted_as_they_leave_and_not_twice(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 100)
    tally = Tally()
    with Upload(tmp_path / "large", tally) as upload:
        upload.read(60)
        assert tally.moved_bytes == 60
        upload.seek(0)  # The connection broke: once more.
        upload.read(40)
        assert tally.moved_bytes == 40
    assert tally.moved_bytes == 0


def test_what_is_installed_with_the_client_is_what_sluice_is_tested_with() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    tested = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert {re.split("[<>=]", each)[0] for each in project["dependencies"]} <= tested
    assert project["scripts"] == {"sluice": "app.cli.__main__:main"}
