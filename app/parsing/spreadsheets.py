"""Spreadsheets by calamine, CSV by the standard library: rows as lines, cells parted by ` | `."""

from __future__ import annotations

import csv
import datetime
from collections import Counter
from typing import BinaryIO

import python_calamine as calamine

from app.errors import EncryptedFile
from app.parsing.archive import check_archive
from app.parsing.tables import append_table
from app.parsing.text import read_text
from app.parsing.text_builder import TextBuilder, clean

_DELIMITERS = ",;\t|"
_SNIFFED_LINES = 50
_MAX_SNIFFED_CHARS = 64 * 1024
_ZIP_MAGIC = b"PK"
_EXACT_INTEGERS = 2**53


def parse_workbook(file: BinaryIO, builder: TextBuilder) -> None:
    """XLSX, XLSM, XLSB, XLS and ODS: a sheet is a page, its name a heading."""
    if file.read(2) == _ZIP_MAGIC:
        check_archive(file)
    file.seek(0)
    try:
        workbook = calamine.CalamineWorkbook.from_filelike(file)
    except calamine.PasswordError as error:
        raise EncryptedFile from error
    with workbook:
        _append_sheets(workbook, builder)


def _append_sheets(workbook: calamine.CalamineWorkbook, builder: TextBuilder) -> None:
    worksheets = [
        sheet.name for sheet in workbook.sheets_metadata if sheet.typ == calamine.SheetTypeEnum.WorkSheet
    ]
    for number, name in enumerate(worksheets, start=1):
        sheet = workbook.get_sheet_by_name(name)
        if not sheet.height:
            continue
        builder.page(number)
        builder.heading(name, 1)
        append_table(builder, (map(_shown, row) for row in sheet.iter_rows()))


def _shown(cell: object) -> str:
    """A cell as people see it: whole numbers without `.0`, dates without midnight, 15 digits as in Excel.

    The formats of numbers are not seen: calamine reads 12.5 % as 0.125, and looking them up beside it takes
    twice as long as all that it does.
    """
    if isinstance(cell, bool):
        return "TRUE" if cell else "FALSE"
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < _EXACT_INTEGERS:
        return str(int(cell))
    if isinstance(cell, float):
        return f"{cell:.15g}"  # More would show that 6.6 is none in binary.
    if isinstance(cell, datetime.datetime):
        return cell.isoformat(" ").removesuffix(" 00:00:00")
    return str(cell)


def parse_csv(file: BinaryIO, builder: TextBuilder) -> None:
    text = clean(read_text(file, builder), keep_blank_lines=True)
    lines = text.split("\n")
    csv.field_size_limit(builder.max_text_chars)
    append_table(builder, csv.reader((f"{line}\n" for line in lines), delimiter=sniff_delimiter(lines)))


def sniff_delimiter(lines: list[str]) -> str:
    """The delimiter that gives most rows the same number of cells; the comma where none does.

    csv.Sniffer is not used: it takes letters for delimiters, and its patterns can run for minutes.
    """
    sample = "\n".join(lines[:_SNIFFED_LINES])[:_MAX_SNIFFED_CHARS].split("\n")
    scores = {delimiter: _regularity(sample, delimiter) for delimiter in _DELIMITERS}
    best = max(scores, key=lambda delimiter: scores[delimiter])
    return best if scores[best] > 0 else ","


def _regularity(sample: list[str], delimiter: str) -> float:
    try:
        widths = Counter(len(row) for row in csv.reader(sample, delimiter=delimiter) if row)
    except csv.Error:
        return 0
    if not widths:
        return 0
    width, rows = widths.most_common(1)[0]
    return rows / widths.total() if width > 1 else 0
