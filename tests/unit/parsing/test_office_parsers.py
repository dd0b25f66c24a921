from __future__ import annotations

import io
import zipfile
from collections.abc import Callable

import docx
import pptx
import pytest
from docx.oxml import parse_xml
from pptx.util import Inches

from app.errors import CorruptFile, EncryptedFile, NoText
from app.parsing import archive, media_types
from app.parsing.parsed_document import ParsedDocument

Read = Callable[..., ParsedDocument]
W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def saved(file: object) -> bytes:
    buffer = io.BytesIO()
    file.save(buffer)  # type: ignore[attr-defined]
    return buffer.getvalue()


def changed(data: bytes, changes: dict[str, Callable[[bytes], bytes]]) -> bytes:
    """The same zip with some members replaced."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, changes.get(name, lambda content: content)(old.read(name)))
    return buffer.getvalue()


# --- Word --------------------------------------------------------------------------------------------------


def test_a_word_file_is_read_in_order(read: Read) -> None:
    file = docx.Document()
    file.core_properties.title = "The report"
    file.sections[0].header.paragraphs[0].text = "header on each page"
    file.add_heading("Report", 0)
    file.add_heading("First", 1)
    file.add_paragraph("Text with a\ttab and a\nbreak.")
    table = file.add_table(rows=2, cols=2)
    for cell, text in zip((cell for row in table.rows for cell in row.cells), "abcd", strict=True):
        cell.text = text
    table.cell(1, 1).add_paragraph("more")
    file.add_heading("Second", 2)
    file.add_paragraph("The end.")
    document = read(saved(file), "a.txt")
    assert document.media_type == media_types.DOCX
    assert document.title == "The report"
    assert document.text == (
        "Report\n\nFirst\n\nText with a\ttab and a\nbreak.\n\na | b\nc | d more\n\nSecond\n\nThe end."
    )
    assert [(heading.level, heading.title) for heading in document.headings] == [
        (1, "Report"),
        (1, "First"),
        (2, "Second"),
    ]
    assert document.pages == ()


def test_deleted_text_is_left_out_and_inserted_text_and_content_controls_are_read(read: Read) -> None:
    file = docx.Document()
    body = file.element.body
    body.insert(
        0,
        parse_xml(
            f"<w:p {W}><w:r><w:t>kept </w:t></w:r><w:ins><w:r><w:t>new </w:t></w:r></w:ins>"
            f"<w:del><w:r><w:delText>gone</w:delText></w:r></w:del><w:hyperlink><w:r><w:t>link</w:t></w:r></w:hyperlink></w:p>"
        ),
    )
    body.insert(
        1,
        parse_xml(
            f"<w:sdt {W}><w:sdtContent><w:p><w:r><w:t>controlled</w:t></w:r></w:p></w:sdtContent></w:sdt>"
        ),
    )
    assert read(saved(file)).text == "kept new link\n\ncontrolled"


def test_text_boxes_are_read_once(read: Read) -> None:
    file = docx.Document()
    mc = 'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
    box = "<w:txbxContent><w:p><w:r><w:t>boxed</w:t></w:r></w:p></w:txbxContent>"
    file.element.body.insert(
        0,
        parse_xml(
            f"<w:p {W} {mc}><w:r><w:t>before</w:t><mc:AlternateContent>"
            f"<mc:Choice Requires='wps'>{box}</mc:Choice>"
            f"<mc:Fallback>{box}</mc:Fallback></mc:AlternateContent></w:r></w:p>"
        ),
    )
    assert read(saved(file)).text == "before\n\nboxed"


def test_styles_based_on_headings_are_headings_and_circles_are_none(read: Read) -> None:
    file = docx.Document()
    mine = file.styles.add_style("Mine", docx.enum.style.WD_STYLE_TYPE.PARAGRAPH)
    mine.base_style = file.styles["Heading 3"]
    first = file.styles.add_style("Circle", docx.enum.style.WD_STYLE_TYPE.PARAGRAPH)
    second = file.styles.add_style("Back", docx.enum.style.WD_STYLE_TYPE.PARAGRAPH)
    first.base_style, second.base_style = second, first
    file.add_paragraph("Mine", style="Mine")
    file.add_paragraph("Round", style="Circle")
    assert [(heading.level, heading.title) for heading in read(saved(file)).headings] == [(3, "Mine")]


def test_a_paragraph_of_style_title_is_the_title_of_a_word_file_whose_properties_have_none(
    read: Read,
) -> None:
    file = docx.Document()
    mine = file.styles.add_style("Mine", docx.enum.style.WD_STYLE_TYPE.PARAGRAPH)
    mine.base_style = file.styles["Title"]
    file.add_heading("Part", 1)
    file.add_paragraph(" ", style="Title")
    file.add_paragraph("The\nrules", style="Mine")
    file.add_paragraph("Another", style="Title")
    document = read(saved(file))
    assert document.title == "The rules"
    assert [(heading.level, heading.title) for heading in document.headings] == [
        (1, "Part"),
        (1, "The rules"),
        (1, "Another"),
    ]
    file.core_properties.title = "Of the properties"
    assert read(saved(file)).title == "Of the properties"


def test_a_heading_is_no_title_of_a_word_file(read: Read) -> None:
    """The first one of a page names it; Word has a style for that, and many parts of the same level."""
    file = docx.Document()
    file.add_heading("Introduction", 1)
    assert read(saved(file)).title is None


def test_word_files_with_macros_and_strict_ones_are_read_too(read: Read) -> None:
    file = docx.Document()
    file.add_heading("Head", 1)
    macros = changed(
        saved(file),
        {
            "[Content_Types].xml": lambda content: content.replace(
                b"vnd.openxmlformats-officedocument.wordprocessingml.document.main",
                b"vnd.ms-word.document.macroEnabled.main",
            )
        },
    )
    strict = changed(
        saved(file),
        {
            "word/document.xml": lambda content: content.replace(
                b"http://schemas.openxmlformats.org/wordprocessingml/2006/main",
                b"http://purl.oclc.org/ooxml/wordprocessingml/main",
            )
        },
    )
    for data in (macros, strict):
        assert [heading.title for heading in read(data).headings] == ["Head"]


def test_footnotes_follow_the_body(read: Read) -> None:
    from docx.opc.constants import RELATIONSHIP_TYPE
    from docx.opc.packuri import PackURI
    from docx.opc.part import Part

    file = docx.Document()
    file.add_paragraph("body")
    notes = (
        f'<w:footnotes {W}><w:footnote w:type="separator"><w:p><w:r><w:t>---</w:t></w:r></w:p></w:footnote>'
        "<w:footnote><w:p><w:r><w:t>a</w:t></w:r></w:p><w:p><w:r><w:t>note</w:t></w:r></w:p></w:footnote></w:footnotes>"
    )
    part = Part(PackURI("/word/footnotes.xml"), "application/xml", notes.encode(), file.part.package)
    file.part.relate_to(part, RELATIONSHIP_TYPE.FOOTNOTES)
    assert read(saved(file)).text == "body\n\na note"


def test_a_word_file_without_words_has_no_text(read: Read) -> None:
    with pytest.raises(NoText):
        read(saved(docx.Document()))


@pytest.mark.parametrize("content", [b"<broken", b"<a/>", b""])
def test_a_word_file_with_a_broken_body_is_corrupt(read: Read, content: bytes) -> None:
    with pytest.raises(CorruptFile, match=r"Word file|damaged"):
        read(changed(saved(docx.Document()), {"word/document.xml": lambda _: content}))


def test_a_word_file_without_its_main_part_is_corrupt(read: Read) -> None:
    with pytest.raises(CorruptFile, match="main part"):
        read(changed(saved(docx.Document()), {"_rels/.rels": lambda _: b"<Relationships/>"}))


# --- PowerPoint --------------------------------------------------------------------------------------------


def test_slides_are_pages_with_titles_tables_and_notes(read: Read) -> None:
    file = pptx.Presentation()
    file.core_properties.title = "The talk"
    first = file.slides.add_slide(file.slide_layouts[1])
    first.shapes.title.text = "Welcome"
    first.placeholders[1].text = "one\ntwo"
    first.notes_slide.notes_text_frame.text = "Smile."
    second = file.slides.add_slide(file.slide_layouts[6])
    table = second.shapes.add_table(2, 2, 0, 0, Inches(2), Inches(1)).table
    for index, text in enumerate("abcd"):
        table.cell(index // 2, index % 2).text = text
    group = second.shapes.add_group_shape()
    group.shapes.add_textbox(0, 0, Inches(1), Inches(1)).text_frame.text = "grouped"
    document = read(saved(file), "talk.pptx")
    assert document.media_type == media_types.PPTX
    assert document.title == "The talk"
    assert document.text == "Welcome\n\none\ntwo\n\nSmile.\n\na | b\nc | d\n\ngrouped"
    assert [(heading.title, heading.level) for heading in document.headings] == [("Welcome", 1)]
    assert [document.text[page.char_start : page.char_end] for page in document.pages] == [
        "Welcome\n\none\ntwo\n\nSmile.",
        "a | b\nc | d\n\ngrouped",
    ]


def test_slides_keep_the_order_of_the_show(read: Read) -> None:
    file = pptx.Presentation()
    for title in ("first", "second"):
        file.slides.add_slide(file.slide_layouts[5]).shapes.title.text = title
    ids = file.slides._sldIdLst
    ids.append(ids[0])
    assert read(saved(file)).text == "second\n\nfirst"


# --- OpenDocument ------------------------------------------------------------------------------------------

ODF = " ".join(
    f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
    for name in ("office", "text", "table", "meta")
)


def odt(body: str, *, manifest: str = "<manifest/>", title: str = "") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("mimetype", "application/vnd.oasis.opendocument.text")
        file.writestr("META-INF/manifest.xml", manifest)
        file.writestr(
            "meta.xml", f'<x xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>{title}</dc:title></x>'
        )
        file.writestr(
            "content.xml",
            f"<office:document-content {ODF}><office:body><office:text>{body}</office:text></office:body>"
            "</office:document-content>",
        )
    return buffer.getvalue()


def test_an_opendocument_text_is_read_in_order(read: Read) -> None:
    document = read(
        odt(
            '<text:h text:outline-level="2">Head</text:h><text:p>One<text:s text:c="3"/>two<text:line-break/>'
            "<text:span>three</text:span><text:note><text:note-citation>1</text:note-citation><text:note-body>"
            "<text:p>a note</text:p></text:note-body></text:note> end</text:p>"
            "<text:list><text:list-item><text:p>item</text:p></text:list-item></text:list>"
            "<text:section><table:table><table:table-row><table:table-cell><text:p>a</text:p></table:table-cell>"
            "<table:table-cell><text:p>b</text:p></table:table-cell></table:table-row></table:table></text:section>"
            "<text:tracked-changes><text:p>gone</text:p></text:tracked-changes>",
            title="The title",
        )
    )
    assert document.media_type == media_types.ODT
    assert document.title == "The title"
    assert document.text == "Head\n\nOne   two\nthree [a note] end\n\n- item\n\na | b"
    assert [(heading.level, heading.title) for heading in document.headings] == [(2, "Head")]


def test_a_million_blanks_in_one_element_are_not_believed(read: Read) -> None:
    assert len(read(odt('<text:p>a<text:s text:c="999999999"/>b</text:p>')).text) < 200


def test_an_encrypted_opendocument_text_is_told_as_such(read: Read) -> None:
    with pytest.raises(EncryptedFile):
        read(odt("", manifest="<manifest:encryption-data/>"))


# --- Containers --------------------------------------------------------------------------------------------


def test_a_zip_bomb_is_refused_before_it_is_unpacked(read: Read) -> None:
    bomb = changed(
        saved(docx.Document()), {"word/document.xml": lambda _: b" " * (archive._SUSPICIOUS_BYTES + 1)}
    )
    assert len(bomb) < 200_000
    with pytest.raises(CorruptFile, match="zip bomb"):
        read(bomb)


def test_a_zip_that_lies_about_its_sizes_is_refused(read: Read, xlsx: bytes) -> None:
    name = b"xl/worksheets/sheet1.xml"
    with zipfile.ZipFile(io.BytesIO(xlsx)) as file:
        true_size = file.getinfo(name.decode()).file_size.to_bytes(4, "little")
    with pytest.raises(CorruptFile):
        read(xlsx.replace(true_size, (1).to_bytes(4, "little")))


def test_a_member_that_claims_to_be_longer_than_the_file_is_refused(read: Read) -> None:
    data = odt("<text:p>x</text:p>")
    entry = data.index(b"PK\x01\x02")
    lie = data[: entry + 20] + (4_000_000_000).to_bytes(4, "little") + data[entry + 24 :]
    with pytest.raises(CorruptFile, match="longer than the whole"):
        read(lie)


def test_a_container_with_encrypted_members_is_told_as_such(read: Read) -> None:
    data = odt("<text:p>x</text:p>")
    entry = data.index(b"PK\x01\x02")
    with pytest.raises(EncryptedFile):
        read(data[: entry + 8] + b"\x01" + data[entry + 9 :])


def test_every_cut_of_a_container_is_corrupt(read: Read, xlsx: bytes) -> None:
    for size in range(100, len(xlsx), len(xlsx) // 20):
        with pytest.raises(CorruptFile):
            read(xlsx[:size])


@pytest.fixture
def xlsx() -> bytes:
    import xlsxwriter

    buffer = io.BytesIO()
    with xlsxwriter.Workbook(buffer) as workbook:
        workbook.add_worksheet().write_row(0, 0, ["a", "b"])
    return buffer.getvalue()
