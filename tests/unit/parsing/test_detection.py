from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from app.errors import CorruptFile, UnsupportedMediaType
from app.parsing import media_types as types
from app.parsing.detection import HEAD_BYTES, detect, detect_file
from app.parsing.ole2 import root_streams

OLE2 = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


@pytest.mark.parametrize(
    ("head", "name", "media_type"),
    [
        (b"Hello", None, types.TEXT),
        (b"Hello", "a.pdf", types.TEXT),
        (b"%PDF-1.7\n\xe2\xe3\xcf\xd3", "a.txt", types.PDF),
        (b"\n\n%PDF-1.4", None, types.PDF),
        (b"HTTP/1.1 200 OK\r\n\r\n%PDF-1.4\n" + bytes(range(256)), None, types.PDF),
        (b"A PDF begins with %PDF-1.4 or the like.", None, types.TEXT),
        (b"# Title\n\ntext", "README.md", types.MARKDOWN),
        (b'<div align="center">logo</div>\n\n# Title', "README.md", types.MARKDOWN),
        (b"<!-- saved -->\n<!DOCTYPE html><p>x", "page.txt", types.HTML),
        (b"<HTML><body>", None, types.HTML),
        (b"<p>A fragment", None, types.HTML),
        (b"<p>A fragment", "a.txt", types.TEXT),
        (b"a < b and c > d", None, types.TEXT),
        (b'<?xml version="1.0"?><feed/>', None, types.XML),
        (b'<?xml version="1.0"?>\n<!DOCTYPE html PUBLIC "-//W3C//DTD"><html>', None, types.HTML),
        (b"a;b;c\n1;2;3", "a.csv", types.CSV),
        (b"a\tb", "a.TSV", types.TSV),
        (b'{"a": [1, 2]}', None, types.JSON),
        (b'{"a": 1}\n{"a": 2}\n', None, types.JSON_LINES),
        (b"[not json", None, types.TEXT),
        (b"{curly} text", "a.json", types.TEXT),
        (b"def f(): return [1]", "x.py", "text/x-python"),
        (b"[section]\nkey=1", "setup.cfg", "text/x-ini"),
        (b"FROM python:3.11", "Dockerfile", "text/x-dockerfile"),
        (b"From: a@b.c\r\nSubject: Hi\r\n\r\nHello", None, types.EML),
        (b"From: a@b.c\r\nSubject: Hi\r\n\r\nHello", "a.txt", types.EML),
        (b"Received: from x\r\n\tby y\r\nMessage-ID: <1@x>\r\n", "noname", types.EML),
        (b"Subject: a memo\nDate: today\n\nno mail", None, types.TEXT),
        (b"From: here\nto there, a poem\nSubject: x", None, types.TEXT),
        ("Grüße aus Köln".encode("cp1252"), None, types.TEXT),
        ("BMW fährt über die Straße".encode("cp1252"), None, types.TEXT),
        (b"BMW is a car", None, types.TEXT),
        ("wide text".encode("utf-16"), None, types.TEXT),
        ("wide text without a mark".encode("utf-16-be"), None, types.TEXT),
        ("<html><p>wide".encode("utf-16"), None, types.HTML),
        ("日本語のテキスト".encode("shift_jis"), None, types.TEXT),
        (b"\x1b[31mred\x1b[0m and \x0c a form feed", "log.txt", types.TEXT),
        (b"a text with one stray \0 zero" + b" and many more words" * 20, None, types.TEXT),
        (b"line one\nline two\0\nline three\n" * 20, "a.log", types.TEXT),
        ("Grüße\0 aus der Stadt Köln am Rhein\n".encode("cp1252") * 20, "a.log", types.TEXT),
        ("一共一百个字，一一说明。\n".encode("utf-16-le"), "a.txt", types.TEXT),
        ("一共一百个字，一一说明。\n".encode("utf-16-be"), "a.txt", types.TEXT),
        ("<html><p>没有标记".encode("utf-16-be"), None, types.HTML),
        (OLE2 + b"\0" * 600, "old.xls", types.XLS),
        (OLE2 + b"\0" * 600, None, types.OLE2),
        (b"PK\x03\x04" + b"\0" * 100, "a.docx", types.DOCX),
        (b"PK\x03\x04" + b"\0" * 100, None, types.ZIP),
        (b"PK\x03\x04" + b"\0" * 26 + b"xl/workbook.bin", "a.xlsb", types.XLSB),
        (b"PK\x03\x04" + b"\0" * 26 + b"ppt/presentation.xml", "a.docx", types.PPTX),
    ],
)
def test_content_decides_and_the_name_settles_the_rest(
    head: bytes, name: str | None, media_type: str
) -> None:
    assert detect(head, name) == media_type


@pytest.mark.parametrize(
    ("head", "media_type"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + b"\0" * 50, "image/png"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF\0" + b"\0" * 50, "image/jpeg"),
        (b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff" + b"\0" * 50, "application/x-msdownload"),
        (b"ID3\x04\0\0\0\0\0\0" + b"\xff\xfb\x90" * 30, "audio/mpeg"),
        (bytes(range(256)), "application/octet-stream"),
        (b"{\\rtf1\\ansi text}", "application/rtf"),
    ],
)
@pytest.mark.parametrize("name", [None, "a.txt", "a.pdf", "a.docx"])
def test_what_no_parser_reads_is_refused_whatever_its_name(
    head: bytes, media_type: str, name: str | None
) -> None:
    with pytest.raises(UnsupportedMediaType) as caught:
        detect(head, name)
    assert caught.value.media_type == media_type


def test_gaps_full_of_zeros_are_no_stray_ones() -> None:
    """A tar of a text is mostly text."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("a.txt")
        member.size = 8 * HEAD_BYTES
        archive.addfile(member, io.BytesIO(b"words " * 2 * HEAD_BYTES))
    with pytest.raises(UnsupportedMediaType, match="tar"):
        detect(buffer.getvalue()[:HEAD_BYTES], "a.txt")


def test_an_epub_is_refused_by_its_head() -> None:
    with pytest.raises(UnsupportedMediaType, match="epub"):
        detect(zip_of({"mimetype": "application/epub+zip", "x": "y"}), "book.epub")


def test_a_declared_type_counts_for_text_that_says_nothing_itself() -> None:
    assert detect(b"*a*", None, hint="Text/Markdown; charset=utf-8") == types.MARKDOWN
    assert detect(b"*a*", "a.csv", hint="text/markdown") == types.CSV
    assert detect(b"%PDF-1.4", None, hint="text/markdown") == types.PDF
    assert detect(b"words", None, hint="image/png") == types.TEXT


def test_json_that_is_longer_than_the_head_is_told_by_its_beginning() -> None:
    head = (b'{"records": [' + b'{"a": 1},' * HEAD_BYTES)[:HEAD_BYTES]
    assert detect(head, None) == types.JSON
    assert detect(head, "a.txt") == types.TEXT


def test_a_head_cut_within_a_character_is_still_utf8() -> None:
    assert detect(b"text " + "ü".encode()[:1], None) == types.TEXT


@pytest.mark.parametrize(
    ("members", "media_type"),
    [
        ({"mimetype": "application/vnd.oasis.opendocument.text"}, types.ODT),
        ({"mimetype": "application/vnd.oasis.opendocument.spreadsheet\n"}, types.ODS),
        ({"mimetype": "application/vnd.oasis.opendocument.text-template"}, types.ODT),
    ],
)
def test_containers_are_told_by_their_members(
    members: dict[str, str], media_type: str, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(zip_of(members))
    assert kind_of(path, "wrong.docx") == media_type


@pytest.mark.parametrize(
    ("main_part", "media_type"),
    [
        ("application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml", types.DOCX),
        ("application/vnd.ms-word.document.macroEnabled.main+xml", types.DOCX),
        ("application/vnd.openxmlformats-officedocument.presentationml.slideshow.main+xml", types.PPTX),
        ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml", types.XLSX),
        ("application/vnd.ms-excel.sheet.macroEnabled.main+xml", types.XLSX),
        ("application/vnd.ms-excel.sheet.binary.macroEnabled.main", types.XLSB),
    ],
)
def test_office_files_are_told_by_their_main_part(main_part: str, media_type: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(zip_of({"[Content_Types].xml": f'<Types><Override ContentType="{main_part}"/></Types>'}))
    assert kind_of(path, None) == media_type


@pytest.mark.parametrize(
    "members", [{"a.txt": "x"}, {"mimetype": "application/epub+zip"}, {"[Content_Types].xml": "<Types/>"}]
)
def test_other_zips_are_refused(members: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "file.docx"
    path.write_bytes(zip_of(members))
    with pytest.raises(UnsupportedMediaType):
        kind_of(path, "file.docx")


@pytest.mark.parametrize("between", [b"", b" ", b"\n\n"])
def test_a_row_of_comments_is_read_in_one_way(between: bytes) -> None:
    """There were two ways for each comment: 200 bytes took the API a minute, 8 KiB the rest of its life."""
    comments = (b"<!---->" + between) * 800
    assert detect(comments + b"x", None) == types.TEXT
    assert detect(comments + b"<html>", None) == types.HTML
    assert detect(comments + b"<p class='a'>x", None) == types.HTML


def test_content_types_of_any_length_are_looked_through_once(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(zip_of({"[Content_Types].xml": '<Types><Override ContentType="' + "./+.main" * 200_000}))
    with pytest.raises(UnsupportedMediaType):
        kind_of(path, "a.docx")


@pytest.mark.parametrize("cut", [1, 21, 60])
def test_a_truncated_zip_is_corrupt(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(zip_of({"[Content_Types].xml": "<Types/>" * 50})[:-cut])
    with pytest.raises(CorruptFile, match="zip"):
        kind_of(path, "a.docx")


def test_a_truncated_ole2_container_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLE2 + b"\0" * 60)
    with path.open("rb") as file, pytest.raises(CorruptFile):
        root_streams(file)


def kind_of(path: Path, name: str | None) -> str:
    with path.open("rb") as file:
        return detect_file(file, name)


def zip_of(members: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()
