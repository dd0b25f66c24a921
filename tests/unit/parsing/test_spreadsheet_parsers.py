from __future__ import annotations

import datetime
import io
import struct
import zipfile
from collections.abc import Callable

import pytest
import xlsxwriter

from app.errors import CorruptFile, EncryptedFile, NoText, UnsupportedMediaType
from app.parsing import media_types
from app.parsing.parsed_document import ParsedDocument
from app.parsing.spreadsheets import sniff_delimiter

Read = Callable[..., ParsedDocument]


def xlsx(sheets: dict[str, list[list[object]]]) -> bytes:
    buffer = io.BytesIO()
    with xlsxwriter.Workbook(buffer, {"default_date_format": "yyyy-mm-dd"}) as workbook:
        for name, rows in sheets.items():
            sheet = workbook.add_worksheet(name)
            for number, row in enumerate(rows):
                sheet.write_row(number, 0, row)
        workbook.add_chartsheet("Chart")
    return buffer.getvalue()


def test_sheets_are_pages_and_their_names_headings(read: Read) -> None:
    document = read(
        xlsx(
            {
                "People": [
                    ["Name", "Age", ""],
                    ["Ann", 5, True],
                    [],
                    ["Bob", 1.5, datetime.date(2026, 1, 2)],
                ],
                "Empty": [],
                "More": [["x"]],
            }
        )
    )
    assert document.media_type == media_types.XLSX
    assert document.text == "People\n\nName | Age\nAnn | 5 | TRUE\nBob | 1.5 | 2026-01-02\n\nMore\n\nx"
    assert [heading.title for heading in document.headings] == ["People", "More"]
    assert [page.number for page in document.pages] == [1, 3]


def test_numbers_have_the_digits_that_excel_shows(read: Read) -> None:
    numbers = [6 * 1.1, 0.1 + 0.2, 3 * 1.1 - 0.3, 1.5e-7, -2.25, 2**53 - 1, 1e21]
    shown = "6.6 | 0.3 | 3 | 1.5e-07 | -2.25 | 9007199254740991 | 1e+21"
    assert read(xlsx({"S": [numbers]})).text == f"S\n\n{shown}"
    assert read(ods(numbers)).text == f"S\n\n{shown}"


def ods(numbers: list[float]) -> bytes:
    """One row of them, written as LibreOffice does."""
    names = " ".join(
        f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in ("office", "table")
    )
    cells = "".join(
        f'<table:table-cell office:value-type="float" office:value="{number!r}"/>' for number in numbers
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("mimetype", media_types.ODS)
        file.writestr("META-INF/manifest.xml", "<manifest/>")
        file.writestr(
            "content.xml",
            f"<office:document-content {names}><office:body>"
            f'<<office:spreadsheet><table:table table:name="S"><table:table-row>{cells}'
            "</table:table-row></table:table></office:spreadsheet></office:body></office:document-content>",
        )
    return buffer.getvalue()


def test_a_workbook_of_empty_sheets_has_no_text(read: Read) -> None:
    with pytest.raises(NoText) as caught:
        read(xlsx({"Empty": []}))
    assert "OCR" not in caught.value.hint


def test_a_workbook_with_a_broken_sheet_is_corrupt(read: Read) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(xlsx({"S": [["x"]]}))) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            new.writestr(name, b"<worksheet><sheetData><row" if "sheet1" in name else old.read(name))
    with pytest.raises(CorruptFile, match="Excel file"):
        read(buffer.getvalue())


@pytest.mark.parametrize(
    ("streams", "error"),
    [
        (["EncryptionInfo", "EncryptedPackage"], EncryptedFile),
        (["WordDocument", "1Table"], UnsupportedMediaType),
        (["PowerPoint Document"], UnsupportedMediaType),
        (["Something"], UnsupportedMediaType),
        (["Workbook"], CorruptFile),
    ],
)
def test_old_containers_are_told_by_their_streams(
    read: Read, streams: list[str], error: type[Exception]
) -> None:
    with pytest.raises(error):
        read(ole2(streams), "a.xlsx")


def test_a_directory_that_runs_in_a_circle_ends(read: Read) -> None:
    with pytest.raises(UnsupportedMediaType):
        read(ole2(["Loop"], next_sector=0))


def ole2(streams: list[str], *, next_sector: int = 0xFFFFFFFE) -> bytes:
    """A container of one directory sector (number 0) and one table (number 1)."""
    header = bytearray(512)
    header[:8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
    struct.pack_into("<H", header, 30, 9)
    struct.pack_into("<I", header, 48, 0)
    struct.pack_into("<109I", header, 76, 1, *[0xFFFFFFFF] * 108)
    directory = b""
    names = ["Root Entry", *streams]
    for index, name in enumerate(names):
        entry = bytearray(128)
        encoded = name.encode("utf-16-le") + b"\0\0"
        entry[: len(encoded)] = encoded
        right = index + 1 if 0 < index < len(names) - 1 else 0xFFFFFFFF
        child = 1 if index == 0 else 0xFFFFFFFF
        struct.pack_into(
            "<HBBIII", entry, 64, len(encoded), 5 if index == 0 else 2, 1, 0xFFFFFFFF, right, child
        )
        directory += entry
    table = struct.pack("<128I", next_sector, 0xFFFFFFFD, *[0xFFFFFFFF] * 126)
    return bytes(header) + directory.ljust(512, b"\0") + table


def test_csv_becomes_rows(read: Read) -> None:
    document = read('name;text\r\nAnn;"one; two\nthree"\r\n\r\nBob;""\r\n', "a.csv")
    assert document.text == "name | text\nAnn | one; two three\nBob"
    assert document.media_type == "text/csv"


def test_csv_in_an_old_encoding_is_read(read: Read) -> None:
    assert read("Straße;Köln\nGrüße;x".encode("cp1252"), "a.csv").text == "Straße | Köln\nGrüße | x"


@pytest.mark.parametrize(
    ("lines", "delimiter"),
    [
        (["a,b", "c,d"], ","),
        (["a;b", "1,5;2,5"], ";"),
        (["a\tb", "c, d\te"], "\t"),
        (["a|b", "c|d"], "|"),
        (["word", "another"], ","),
        ([""], ","),
    ],
)
def test_the_delimiter_is_the_one_that_gives_regular_rows(lines: list[str], delimiter: str) -> None:
    assert sniff_delimiter(lines) == delimiter


def test_an_unclosed_quote_does_not_lose_the_rest(read: Read) -> None:
    assert "the end" in read('a,b\n"c,d\n' + "x,y\n" * 1000 + "the end,1", "a.csv").text
