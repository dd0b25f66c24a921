from __future__ import annotations

from collections.abc import Callable

import pytest

from app.errors import EmptyFile, TextTooLong
from app.parsing.parsed_document import Heading, ParsedDocument

Read = Callable[..., ParsedDocument]


@pytest.mark.parametrize("content", ["", " \n\t\r\n ", "\ufeff", "\ufeff \n"])
def test_a_file_of_white_space_is_empty(read: Read, content: str) -> None:
    with pytest.raises(EmptyFile):
        read(content, "a.txt")


def test_text_keeps_its_paragraphs_and_loses_extra_blank_lines(read: Read) -> None:
    document = read(b"one\r\ntwo  \r\n\r\n\r\n\r\nthree\0\r\n" + b"x" * 100, "a.txt")
    assert document.text == "one\ntwo\n\nthree\n" + "x" * 100
    assert document.media_type == "text/plain"
    assert (document.title, document.pages, document.headings) == (None, (), ())


def test_source_code_keeps_indentation_and_blank_lines(read: Read) -> None:
    source = "import os\n\n\n\ndef f():\n\treturn [1]\n"
    document = read(source, "a.py")
    assert document.text == source.rstrip()
    assert document.media_type == "text/x-python"


@pytest.mark.parametrize("name", ["a.txt", "a.py", "a.md", "a.csv", "a.html", "a.json", "a.xml"])
def test_a_text_longer_than_the_limit_is_refused(read: Read, name: str) -> None:
    content = {
        "a.json": '["' + "word " * 100 + '"]',
        "a.xml": "<?xml version='1.0'?><a>" + "word " * 100 + "</a>",
    }
    with pytest.raises(TextTooLong) as caught:
        read(content.get(name, "word " * 100), name, max_text_chars=99)
    assert caught.value.limit_chars == 99


def test_a_text_of_exactly_the_limit_is_read(read: Read) -> None:
    assert len(read("ü" * 100, "a.txt", max_text_chars=100).text) == 100


def test_markdown_headings_are_noted_and_lose_their_marks(read: Read) -> None:
    document = read(
        "# One #\n\ntext\n\nTwo\n---\nmore\n\n### **Three** [link](http://x) `code`\n- a\n", "a.md"
    )
    assert document.text == "One\n\ntext\n\nTwo\n\nmore\n\nThree link code\n\n- a"
    assert [(heading.level, heading.title) for heading in document.headings] == [
        (1, "One"),
        (2, "Two"),
        (3, "Three link code"),
    ]
    assert document.title == "One"


def test_fenced_code_has_no_headings_and_keeps_its_blank_lines(read: Read) -> None:
    document = read("# Real\n\n```sh\n# not a heading\n\n\n\nTitle\n=====\n```\n\n~~~\n# neither\n", "a.md")
    assert document.headings == (Heading(1, "Real", 0),)
    assert "# not a heading\n\n\n\nTitle\n=====\n```" in document.text


@pytest.mark.parametrize(
    "content",
    [
        "#hashtag",
        "    # indented code",
        "a | b\n---|---\n1 | 2",
        "- item\n---",
        "text\n\n---\n\nmore",
        "> q\n---",
        "1. a\n---",
    ],
)
def test_what_only_looks_like_a_heading_is_none(read: Read, content: str) -> None:
    assert read(f"text\n\n{content}", "a.md").headings == ()


def test_front_matter_gives_the_title_and_stays_findable(read: Read) -> None:
    document = read("---\ntitle: 'The Guide'\ntags: [alpha]\n---\n# Start\n", "a.md")
    assert document.title == "The Guide"
    assert document.text == "title: 'The Guide'\ntags: [alpha]\n\nStart"
    assert document.headings[0].char_start == document.text.index("Start")


def test_a_heading_of_marks_is_read_once_and_not_in_all_its_parts(read: Read) -> None:
    """A hundred thousand backticks would have taken days."""
    document = read(f"# {'`' * 100_000}\n\nbody\n\n## a `b` ``c`d`` **e**", "a.md")
    assert document.text.endswith("body\n\na b c`d e")


def test_a_rule_at_the_top_is_no_front_matter(read: Read) -> None:
    assert read("---\n\ntext", "a.md").text == "---\n\ntext"
