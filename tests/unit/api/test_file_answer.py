"""Names of files, as they are told to browsers."""

from __future__ import annotations

from urllib.parse import unquote

import pytest

from app.api.file_answer import MAX_NAME_CHARS, attachment, safe_name


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("gates.pdf", "gates.pdf"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("..", "document"),
        ("", "document"),
        (".bashrc", "bashrc"),
        ("-rf", "rf"),
        ('a"b;c.txt', "a_b;c.txt"),
        ("a\r\nset-cookie: b", "a__set-cookie_ b"),
        ("C:\\boot.ini", "C__boot.ini"),
        ("schleuse-öffnet 水.pdf", "schleuse-öffnet 水.pdf"),
        ("x" * 300 + ".pdf", "x" * (MAX_NAME_CHARS - 4) + ".pdf"),
    ],
)
def test_a_name_means_nothing_but_itself(name: str, safe: str) -> None:
    assert safe_name(name) == safe


@pytest.mark.parametrize("name", ["gates.pdf", "öffnet 水.pdf", "100% 'sure' \\ \"x\".txt", "🚢" * 50, "水"])
def test_a_name_comes_back_from_the_header(name: str) -> None:
    header = attachment(name)

    header.encode("ascii")
    plain, _, encoded = header.removeprefix("attachment; filename=").partition("; filename*=UTF-8''")
    assert unquote(encoded) == safe_name(name)
    assert safe_name(plain.strip('"')) == plain.strip('"')
    assert header.count('"') == 2
