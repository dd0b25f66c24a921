from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from app.errors import CorruptFile, EncryptedFile, NoText, TextTooLong
from app.parsing.parsed_document import ParsedDocument

Read = Callable[..., ParsedDocument]


def pdf(
    pages: Sequence[Sequence[str]],
    *,
    outline: Sequence[tuple[str, int]] = (),
    title: str = "",
    annotations: Sequence[str] = (),
    trailer: str = "",
) -> bytes:
    """A small PDF: lines of text per page, outline as (title, page index), raw annotations of page one."""
    objects: dict[int, str] = {3: "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"}
    notes = list(range(100, 100 + len(annotations)))
    objects.update(zip(notes, annotations, strict=True))
    kids = list(range(10, 10 + 2 * len(pages), 2))
    for kid, lines in zip(kids, pages, strict=True):
        drawn = "".join(f"({line}) Tj 0 -14 Td " for line in lines)
        stream = f"BT /F1 12 Tf 50 750 Td {drawn} ET"
        objects[kid] = (
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {kid + 1} 0 R"
            f" /Resources << /Font << /F1 3 0 R >> >>"
            f"{' /Annots [' + ' '.join(f'{n} 0 R' for n in notes) + ']' if kid == 10 and notes else ''} >>"
        )
        objects[kid + 1] = f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream"
    objects[2] = f"<< /Type /Pages /Count {len(kids)} /Kids [{' '.join(f'{kid} 0 R' for kid in kids)}] >>"
    entries = list(range(200, 200 + len(outline)))
    for index, (words, page) in enumerate(outline):
        following = f"/Next {entries[index + 1]} 0 R" if index + 1 < len(entries) else ""
        objects[entries[index]] = (
            f"<< /Title ({words}) /Parent 4 0 R /Dest [{kids[page]} 0 R /Fit] {following} >>"
        )
    if entries:
        objects[4] = f"<< /First {entries[0]} 0 R /Last {entries[-1]} 0 R /Count {len(entries)} >>"
    forms = f"/AcroForm << /Fields [{' '.join(f'{n} 0 R' for n in notes)}] >>" if notes else ""
    objects[1] = f"<< /Type /Catalog /Pages 2 0 R {'/Outlines 4 0 R' if entries else ''} {forms} >>"
    objects[5] = f"<< /Title ({title}) >>"
    return _assemble(objects, trailer)


def _assemble(objects: dict[int, str], trailer: str) -> bytes:
    data, offsets = b"%PDF-1.4\n", {}
    for number, body in sorted(objects.items()):
        offsets[number] = len(data)
        data += f"{number} 0 obj\n{body}\nendobj\n".encode("latin-1")
    start = len(data)
    data += b"xref\n0 1\n0000000000 65535 f \n"
    for number, offset in offsets.items():
        data += f"{number} 1\n{offset:010d} 00000 n \n".encode()
    return (
        data
        + f"trailer << /Size 999 /Root 1 0 R /Info 5 0 R {trailer} >>\nstartxref\n{start}\n%%EOF".encode()
    )


def test_pages_have_their_numbers_and_their_text(read: Read) -> None:
    document = read(pdf([["First page."], ["Second page,", "two lines"]], title="A title"))
    assert document.media_type == "application/pdf"
    assert document.title == "A title"
    assert document.text == "First page.\n\nSecond page,\ntwo lines"
    assert [document.text[page.char_start : page.char_end] for page in document.pages] == [
        "First page.",
        "Second page,\ntwo lines",
    ]


def test_titles_of_the_outline_are_found_on_their_pages(read: Read) -> None:
    document = read(
        pdf(
            [["Intro and more"], ["Intro again", "The Second", "Part", "text"]],
            outline=[("Intro", 0), ("the second part", 1), ("Not there", 1)],
        )
    )
    assert [(heading.title, heading.char_start) for heading in document.headings] == [
        ("Intro", 0),
        ("the second part", document.text.index("The Second")),
    ]


def test_pages_without_text_are_told_in_a_warning(read: Read) -> None:
    document = read(pdf([["one"], [], [], ["four"], []]))
    assert [page.number for page in document.pages] == [1, 4]
    assert document.warnings == ("No text found on pages 2-3, 5; a scan or a picture, perhaps.",)


@pytest.mark.parametrize(
    ("pages", "words"), [([[]], "page has no text"), ([[], []], "None of the PDF's 2 pages")]
)
def test_a_scan_has_no_text_and_a_hint(read: Read, pages: list[list[str]], words: str) -> None:
    with pytest.raises(NoText, match=words) as caught:
        read(pdf(pages))
    assert "OCR" in caught.value.hint


def test_a_password_is_told_as_such(read: Read) -> None:
    key = "00" * 32
    encryption = f"/Encrypt << /Filter /Standard /V 1 /R 2 /O <{key}> /U <{key}> /P -4 >> /ID [<00> <00>]"
    with pytest.raises(EncryptedFile):
        read(pdf([["secret"]], trailer=encryption))


@pytest.mark.parametrize("data", [b"%PDF-1.4\n", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + b"\0\1\2" * 100])
def test_a_damaged_pdf_is_corrupt(read: Read, data: bytes) -> None:
    with pytest.raises(CorruptFile, match="PDF"):
        read(data, "a.pdf")


def test_the_limit_of_text_holds_within_a_page_and_over_pages(read: Read) -> None:
    with pytest.raises(TextTooLong):
        read(pdf([["x" * 90]]), max_text_chars=20)
    with pytest.raises(TextTooLong):
        read(pdf([["x" * 9], ["y" * 9], ["z" * 9]]), max_text_chars=20)


def test_form_fields_and_notes_are_read(read: Read) -> None:
    rect = "/Rect [10 10 90 30] /P 10 0 R"
    document = read(
        pdf(
            [["A form"]],
            annotations=[
                f"<< /Type /Annot /Subtype /Widget /FT /Tx /T (Name) /V (Ann) {rect} >>",
                f"<< /Type /Annot /Subtype /Widget /FT /Tx /T (Empty) {rect} >>",
                f"<< /Type /Annot /Subtype /Text /Contents (Please check) {rect} >>",
            ],
        )
    )
    assert document.text == "A form\n\nName: Ann\n\nPlease check"


def test_a_sentence_that_ends_early_ends_its_paragraph(read: Read) -> None:
    full = "A line that goes on to the margin of the page and does not stop"
    document = read(pdf([[full, full, "it ends here.", full, full]]))
    assert document.text == f"{full}\n{full}\nit ends here.\n\n{full}\n{full}"


def test_a_damaged_page_costs_that_page_and_is_told(read: Read) -> None:
    data = pdf([["one"], ["two"], ["three"]])
    document = read(data.replace(b"12 0 obj\n<< /Type /Page ", b"12 0 obj\n<< /Type /Pagx "))
    assert document.text == "one\n\nthree"
    assert [page.number for page in document.pages] == [1, 3]
    assert document.warnings == ("Damaged and left out: page 2.",)


@pytest.mark.parametrize("title", ["untitled", "Microsoft Word - report.doc", "thesis.dvi"])
def test_titles_that_programs_made_up_are_no_titles(read: Read, title: str) -> None:
    assert read(pdf([["x"]], title=title)).title is None
