from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from app.errors import CorruptFile, UnsupportedMediaType
from app.parsing import media_types, registry
from app.parsing.text_builder import TextBuilder


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[BaseException], None]:
    """Parse a file with a parser that raises the given error."""

    def fails(error: BaseException) -> None:
        def parser(file: BinaryIO, builder: TextBuilder) -> None:
            raise error

        monkeypatch.setattr(registry, "parser_for", lambda _: parser)
        path = tmp_path / "secret-path"
        path.write_bytes(b"%PDF-1.4")
        with path.open("rb") as file:
            registry.parse(file, name=None, max_text_chars=10)

    return fails


class Panic(BaseException):
    """As pyo3 raises it: no `Exception`, so that Python code does not swallow it by accident."""


@pytest.mark.parametrize(
    "error", [KeyError("/secret-path"), ValueError("x"), OSError(5, "I/O", "/secret-path"), Panic("unwrap")]
)
def test_foreign_errors_become_corrupt_file_without_their_words(
    fails: Callable[[BaseException], None], error: BaseException
) -> None:
    with pytest.raises(CorruptFile) as caught:
        fails(error)
    assert str(caught.value) == "The PDF is damaged or incomplete and cannot be read."
    assert caught.value.__cause__ is error


def test_too_deep_a_recursion_is_told_as_such(fails: Callable[[Exception], None]) -> None:
    with pytest.raises(CorruptFile, match="nested too deeply"):
        fails(RecursionError())


@pytest.mark.parametrize(
    "error", [MemoryError(), ValueError("Memory allocation failed"), OSError(12, "Cannot allocate memory")]
)
def test_a_lack_of_memory_is_told_apart(fails: Callable[[Exception], None], error: Exception) -> None:
    with pytest.raises(MemoryError):
        fails(error)


def test_a_disk_that_cannot_be_read_is_no_fault_of_the_content() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(5, f"I/O of {size}")

    with pytest.raises(OSError, match="I/O"):
        registry.parse(Broken(), name=None, max_text_chars=10)


def test_every_media_type_that_a_name_can_give_has_a_parser() -> None:
    registry.preload()
    for media_type in {*media_types._ENDINGS.values(), *media_types._WHOLE_NAMES.values()}:
        assert callable(registry.parser_for(media_type))


def test_there_is_no_parser_for_the_unknown() -> None:
    with pytest.raises(UnsupportedMediaType):
        registry.parser_for("image/png")
