"""What the demo shows, and where it listens; that it works, tests/acceptance has."""

from __future__ import annotations

import io
import socket
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from rich.console import Console

from app.cli.demo import SAMPLES, next_free_port, next_steps
from app.cli.demo_ingest import Ingest
from app.cli.demo_screen import IngestScreen, line, show_hits, state_of
from app.cli.stack import StackOptions
from app.client import Citation, Hit


def hit(text: str, *, page: int | None = None, page_end: int | None = None) -> Hit:
    place = Citation(
        title="A",
        source="a.md",
        page=page,
        page_end=page_end,
        char_start=0,
        char_end=len(text),
        headings=[],
    )
    return Hit(
        chunk_id=1,
        document_id=UUID(int=7),
        version=1,
        collection="default",
        external_id=None,
        text=text,
        score=0.25,
        legs={},
        citation=place,
        highlights=[],
        context=None,
        metadata={},
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.md"
    path.write_text("hello")
    return path


def test_a_known_file_is_already_there(file: Path) -> None:
    assert state_of(Ingest(file, status="COMPLETED", was_known=True)) == "already there"


def test_a_failure_is_shown_with_its_code_and_what_to_do(file: Path) -> None:
    failed = Ingest(
        file, status="FAILED", code="no_text", message="The file has no text in it.", hint="Try OCR."
    )
    assert "no_text: The file has no text in it. Try OCR." in line(failed)


def test_another_address_than_usual_is_in_the_commands_to_try() -> None:
    assert "--url" not in next_steps("http://127.0.0.1:8000")
    assert "ingest /path/to/documents --url http://127.0.0.1:8001" in next_steps("http://127.0.0.1:8001")


def test_off_the_terminal_there_are_lines_without_control_characters(file: Path) -> None:
    out = io.StringIO()
    console = Console(file=out, highlight=False)
    with IngestScreen(console, [file]) as screen:
        screen.show(Ingest(file, status="PROCESSING"))
        screen.show(Ingest(file, status="COMPLETED", chunks=1, elapsed_ms=70))
    show_hits(console, "Why?", [hit("be\x1b[31mcause\n" + "of it " * 60)])
    show_hits(console, "And?", [])
    text = out.getvalue()
    assert all(character == "\n" or character.isprintable() for character in text)
    assert text.count("a.md") == 2
    assert "COMPLETED        " in text
    assert " 1 chunk  " in text
    assert "Nothing was found." in text


def test_on_the_terminal_there_is_a_table(file: Path) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120, color_system=None)
    failed = Ingest(file, status="FAILED", code="no_text", message="No text.", hint="OCR.")
    with IngestScreen(console, [file]) as screen:
        screen.show(Ingest(file, status="PROCESSING", stage="parsing"))
        screen.show(failed)
    show_hits(console, "Why?", [hit("because", page=4, page_end=4), hit("and so", page=4, page_end=6)])
    text = out.getvalue()
    assert "no_text: No text. OCR." in text
    assert "a.md, page 4 " in text
    assert "a.md, pages 4–6 " in text


def test_a_taken_port_is_passed_over(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        options = StackOptions(data=tmp_path, host="127.0.0.1", port=port, workers=1)
        assert next_free_port(options) > port


def test_an_address_of_another_machine_is_left_to_the_start(tmp_path: Path) -> None:
    options = StackOptions(data=tmp_path, host="192.0.2.1", port=8000, workers=1)
    assert next_free_port(options) == 8000


def test_addresses_for_clients_are_ones_they_can_reach(tmp_path: Path) -> None:
    options = StackOptions(data=tmp_path, host="0.0.0.0", port=80, workers=1)
    assert options.url == "http://127.0.0.1:80"
    assert replace(options, host="::").url == "http://[::1]:80"
    assert replace(options, host="box").url == "http://box:80"


def test_the_samples_are_many_and_small() -> None:
    files = [path for path in SAMPLES.iterdir() if path.name != "README.md"]
    assert len({path.suffix for path in files}) >= 10
    assert all(path.stat().st_size < 60_000 for path in files)
