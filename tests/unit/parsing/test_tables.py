"""Which row of a table says what the others are about, format by format."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import docx
import pytest
import xlsxwriter

from app.parsing.parsed_document import ParsedDocument, Table
from app.parsing.tables import HEADER_WITHIN, MAX_LABEL_CHARS, append_table, has_labels
from app.parsing.text_builder import TextBuilder
from tests.unit.parsing.conftest import Read

HEADER = "Lock | Height | Built"


def tables(document: ParsedDocument) -> list[tuple[str, str]]:
    """Of each, its header and the text below it."""
    return [(table.header, document.text[table.char_start : table.char_end]) for table in document.tables]


@pytest.mark.parametrize(
    ("cells", "is_header"),
    [
        (["Lock", "Height"], True),
        (["Country", "2019", "2020"], True),
        (["", "Q1 2024", "Q2 2024"], True),
        (["Straße", "高さ"], True),
        (["2019", "2020"], False),
        (["Report of the canal"], False),
        (["Lock", "Lock"], False),
        (["Lock", "", "", "", "Built"], False),
        (["Upper", "3.5"], False),
        (["Upper", "1,200 €"], False),
        (["Upper", "2024-01-31"], False),
        (["Upper", "TRUE"], False),
        (["Lock", "x" * (MAX_LABEL_CHARS + 1)], False),
        (["-", "–"], False),
        ([], False),
    ],
)
def test_what_looks_like_a_header(cells: Sequence[str], is_header: bool) -> None:
    assert has_labels(cells) == is_header


def test_a_header_may_stand_below_a_title_but_not_deep_in_the_table() -> None:
    values = ["Upper", "3.5"]
    for above in (HEADER_WITHIN - 1, HEADER_WITHIN):
        builder = TextBuilder(1000)
        append_table(builder, [["Locks of the canal"], *[["x"]] * (above - 1), ["Lock", "Height"], values])
        found = tables(builder.build("text/csv"))
        assert found == ([("Lock | Height", "Upper | 3.5")] if above < HEADER_WITHIN else [])


def test_a_header_with_nothing_below_it_is_none() -> None:
    builder = TextBuilder(1000)
    append_table(builder, [["Lock", "Height"], ["", ""]])
    assert builder.build("text/csv").tables == ()


def test_csv(read: Read) -> None:
    assert tables(read("Lock,Height,Built\nUpper,3.5,1902\nLower,4,1903\n", "a.csv")) == [
        (HEADER, "Upper | 3.5 | 1902\nLower | 4 | 1903")
    ]
    assert tables(read("Upper,3.5,1902\nLower,4,1903\n", "a.csv")) == []


def test_each_sheet_has_its_own(read: Read) -> None:
    data = BytesIO()
    with xlsxwriter.Workbook(data) as workbook:
        for rows in ([["Locks"], ["Lock", "Height"], ["Upper", 3.5]], [["a", "b"], [1, 2]]):
            sheet = workbook.add_worksheet()
            for number, row in enumerate(rows):
                sheet.write_row(number, 0, row)
    assert tables(read(data.getvalue(), "a.xlsx")) == [("Lock | Height", "Upper | 3.5"), ("a | b", "1 | 2")]


def test_a_word_file(read: Read) -> None:
    file = docx.Document()
    file.add_paragraph("before")
    table = file.add_table(rows=2, cols=2)
    for index, text in enumerate(["Lock", "Height", "Upper", "3"]):
        table.cell(index // 2, index % 2).text = text
    file.add_paragraph("after")
    data = BytesIO()
    file.save(data)
    assert tables(read(data.getvalue(), "a.docx")) == [("Lock | Height", "Upper | 3")]


def test_html_says_which_rows_are_headers(read: Read) -> None:
    row = "<tr><td>Upper</td><td>3</td></tr>"
    head = "<tr><th colspan=2>Locks</th></tr><tr><th>Lock</th><th>Height</th></tr>"
    page = f"<table>{head}{row}{row}</table>x<table><tr><td>Home</td><td>About</td></tr>{row}</table>"
    assert tables(read(page, "a.html")) == [("Lock | Height", "Upper | 3\nUpper | 3")]
    named = "<table><tr><th>Upper</th><td>3</td></tr><tr><th>Lower</th><td>4</td></tr></table>"
    assert tables(read(named, "a.html")) == []
    assert tables(read(f"<table>{head}{row}</table>", "a.html")) == [("Lock | Height", "Upper | 3")]


@pytest.mark.parametrize("before", ["", "before\n", "before\n\n", "# Locks\n"])
@pytest.mark.parametrize("after", ["", "\n\nafter", "\n\n| a |\n|---|\n\n"])
def test_markdown_keeps_its_tables_as_they_are(read: Read, before: str, after: str) -> None:
    table = "| Lock | **Height** |\n|------|:------:|\n| Upper | 3 |\n| Lower | a \\| b |"
    document = read(f"{before}{table}{after}", "a.md")
    shown = before.replace("# Locks", "Locks\n")
    assert document.text == f"{shown}{table}{after}".strip()
    assert tables(document) == [("Lock | Height", "| Upper | 3 |\n| Lower | a \\| b |")]


@pytest.mark.parametrize(
    "text",
    [
        "a | b\nc | d",
        "a | b\n\n|---|---|\n| c | d",
        "---|---\na | b",
        "```\na | b\n--|--\nc | d\n```",
        "a\n---",
        "|  |  |\n|--|--|\n| c | d |",
    ],
)
def test_what_is_no_table_of_markdown_with_a_header(read: Read, text: str) -> None:
    assert read(text, "a.md").tables == ()


def test_a_table_ends_where_something_else_begins(read: Read) -> None:
    document = read("a | b\n--|--\n1 | 2\n# Next\nc | d\n-|-\n3 | 4\n```\ncode\n```", "a.md")
    assert tables(document) == [("a | b", "1 | 2"), ("c | d", "3 | 4")]
    assert document.text == "a | b\n--|--\n1 | 2\n\nNext\n\nc | d\n-|-\n3 | 4\n\n```\ncode\n```"


def test_their_number_is_bounded_together_with_that_of_headings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.parsing.text_builder.MAX_HEADINGS", 2)
    builder = TextBuilder(1000)
    builder.heading("Locks", 1)
    for _ in range(2):
        append_table(builder, [["a", "b"], ["1", "2"]])
    builder.heading("Gates", 1)
    document = builder.build("text/csv")
    assert (len(document.headings), document.tables) == (1, (Table("a | b", 13, 18),))
