"""Parse bytes as if they were an uploaded file, in the test's own process."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from app.parsing import registry
from app.parsing.parsed_document import ParsedDocument

Read = Callable[..., ParsedDocument]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read(
        data: bytes | str,
        name: str | None = None,
        *,
        max_text_chars: int = 1_000_000,
        hint: str | None = None,
    ) -> ParsedDocument:
        path = tmp_path / "content"
        path.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)
        with path.open("rb") as file:
            document = registry.parse(file, name=name, max_text_chars=max_text_chars, hint=hint)
        assert_sound(document)
        return document

    return read


def assert_sound(document: ParsedDocument) -> None:
    """What ParsedDocument promises about every document."""
    text = document.text
    assert text
    assert text == text.strip("\n").rstrip()
    assert "\0" not in text
    assert "\r" not in text
    text.encode("utf-8")
    assert all(0 <= page.char_start < page.char_end <= len(text) for page in document.pages)
    for page, following in pairwise(document.pages):
        assert page.number < following.number
        assert page.char_end <= following.char_start
    for heading in document.headings:
        words = " ".join(text[heading.char_start : heading.char_start + 2 * len(heading.title) + 50].split())
        assert words.lower().startswith(heading.title.lower())
    assert list(document.headings) == sorted(document.headings, key=lambda heading: heading.char_start)
    assert all(0 < table.char_start < table.char_end <= len(text) for table in document.tables)
    for table, below in pairwise(document.tables):
        assert table.char_end < below.char_start
