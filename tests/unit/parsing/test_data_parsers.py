from __future__ import annotations

from collections.abc import Callable

import pytest

from app.errors import CorruptFile, NoText
from app.parsing.parsed_document import ParsedDocument

Read = Callable[..., ParsedDocument]


def test_json_becomes_an_outline(read: Read) -> None:
    document = read(
        '{"title": "Sluice \\ud83d\\ude00", "n": 1.10, "ok": true, "none": null, "e": [],'
        '"deep": {"list": [1, {"a": "b", "c": "d"}]}}'
    )
    assert document.title == "Sluice 😀"
    assert document.media_type == "application/json"
    assert document.text == (
        "title: Sluice 😀\nn: 1.10\nok: true\nnone: null\ne:\ndeep:\n  list:\n    - 1\n    - a: b\n      c: d"
    )


def test_records_of_a_list_are_paragraphs(read: Read) -> None:
    assert read('[{"a": "x y", "b": "z"}, {"a": "w"}]').text == "a: x y\nb: z\n\na: w"


def test_lines_of_json_are_paragraphs_and_broken_ones_stay(read: Read) -> None:
    document = read('{"a": 1}\n\n{"a": 2, "b": 3}\n{broken\n', "a.jsonl")
    assert document.text == "a: 1\n\na: 2\nb: 3\n\n{broken"
    assert document.media_type == "application/x-ndjson"


MISNAMED = "It is named like a JSON file, and was read as the plain text that it is"


@pytest.mark.parametrize(
    ("content", "warning"),
    [
        (
            '{"a": "' + "x" * 10_000,
            "The file is not valid JSON and was read as plain text (line 1, column 7: Unterminated string "
            "starting at).",
        ),
        ('{"a": 1,\n "b": [1, 2}', f"{MISNAMED} (line 2, column 12: Expecting ',' delimiter)."),
        ("[" * 3_000 + '"word"' + "]" * 3_000, f"{MISNAMED} (as JSON it is nested too deeply)."),
        ('"word"', f"{MISNAMED}."),
    ],
)
def test_json_that_is_read_as_text_has_a_warning_that_says_why(
    read: Read, content: str, warning: str
) -> None:
    document = read(content, "a.json")
    assert document.text == content
    assert document.warnings == (warning,)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_where_json_breaks_off_is_told_in_any_encoding(read: Read, encoding: str) -> None:
    (*_, warning) = read('{"ort": "Köln",\n}'.encode(encoding), "a.json").warnings
    assert "(line 2, column 1: Expecting property name" in warning


def test_a_number_of_a_million_digits_costs_nothing(read: Read) -> None:
    assert read('{"n": ' + "9" * 900_000 + "}", "a.json").text.startswith("n: 999")


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_json_nested_too_deeply_is_corrupt(read: Read, opening: str) -> None:
    with pytest.raises(CorruptFile, match="nested too deeply"):
        read(opening * 200_000, "a.json")


def test_deep_but_sane_json_is_read(read: Read) -> None:
    assert "word" in read("[" * 200 + '"word"' + "]" * 200, "a.json").text


def test_a_lone_surrogate_in_json_does_no_harm(read: Read) -> None:
    assert read('{"a": "x\\ud83dy\\u0000z"}').text == "a: x\ufffdyz"


def test_xml_gives_the_text_of_its_elements(read: Read) -> None:
    document = read(
        '<?xml version="1.0"?><feed xmlns="urn:x"><title>The feed</title><!-- c -->'
        "<entry><p>Some <b>bold</b>\n words</p>"
        "<q/></entry></feed>"
    )
    assert document.text == "The feed\n\nSome bold words"
    assert document.title == "The feed"


def test_xml_that_is_not_well_formed_is_read_as_far_as_possible(read: Read) -> None:
    document = read('<?xml version="1.0"?>\n<a><b>one</b>\n<c>two &nbsp; three</a>')
    assert "one" in document.text
    assert "three" in document.text
    assert "line 3" in document.warnings[0]


def test_xml_in_another_encoding_is_read(read: Read) -> None:
    document = read('<?xml version="1.0" encoding="koi8-r"?><a>Привет мир</a>'.encode("koi8-r"))
    assert document.text == "Привет мир"


def test_entities_are_never_expanded(read: Read) -> None:
    bomb = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "boom"><!ENTITY y "&x;&x;">]><a>before &y; after</a>'
    assert read(bomb).text == "before after"


def test_files_of_the_host_are_never_read(read: Read) -> None:
    with pytest.raises(NoText):
        read('<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]><a>&x;</a>')


def test_damaged_beyond_recovery_is_corrupt(read: Read) -> None:
    with pytest.raises(CorruptFile, match="XML"):
        read('<?xml version="1.0"?>')
