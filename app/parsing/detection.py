"""What a file is: its content decides, its name only where the content leaves it open."""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from typing import BinaryIO

import filetype  # type: ignore[import-untyped]

from app.errors import CorruptFile, EncryptedFile, UnsupportedMediaType
from app.parsing import media_types as types
from app.parsing.archive import open_archive, read_member
from app.parsing.ole2 import root_streams
from app.parsing.wide_text import CONTROL, PRINTABLE, is_utf8, mostly_printable, wide_encoding

HEAD_BYTES = 8 * 1024

_PDF_WITHIN_BYTES = 1024
_OLE2_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
_MAGIC_BYTES = 64  # Magic numbers need no more; longer binary content gives itself away by its controls.

# Atomic, so that there is one way to read a row of comments: two for each would keep the API busy for ever.
_COMMENTS = r"\s*+(?>(?><!--.*?-->)\s*+)*+"
_PAGE = re.compile(_COMMENTS + r"<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
_FRAGMENT = re.compile(
    _COMMENTS + r"</?(?:div|p|h[1-6]|table|ul|ol|span|a|section|article|main|title|meta|style|script|br|img"
    r"|center|font|b|i|strong|em|pre|form|header|nav)\b[^<>]*>",
    re.IGNORECASE | re.DOTALL,
)
_XML = re.compile(r"\s*<\?xml\s")
_ROOT_IS_HTML = re.compile(r"<(?:!doctype\s+)?html\b", re.IGNORECASE)
_HEADER_LINE = re.compile(r"([A-Za-z][A-Za-z0-9-]{0,60}):(?:\s|$)")
_MAIL_HEADERS = frozenset({
    "from", "to", "cc", "subject", "date", "received", "message-id", "mime-version", "return-path",
    "reply-to", "delivered-to", "content-type", "dkim-signature", "x-mailer",
})  # fmt: skip
# Two of these are needed, and one of them must be a sign of mail rather than of a memo.
_SURE_MAIL_HEADERS = frozenset(
    {"from", "received", "message-id", "mime-version", "return-path", "delivered-to"}
)
_MIN_MAIL_HEADERS = 2
_MAX_HEADER_LINES = 60

_OOXML_FOLDERS = ((b"word/", types.DOCX), (b"ppt/", types.PPTX), (b"xl/", types.XLSX))
_OOXML_MAIN_PARTS = (
    (b"wordprocessingml", types.DOCX),
    (b"ms-word", types.DOCX),
    (b"presentationml", types.PPTX),
    (b"ms-powerpoint", types.PPTX),
    (b"sheet.binary", types.XLSB),
    (b"spreadsheetml", types.XLSX),
    (b"ms-excel", types.XLSX),
)
_CONTENT_TYPE = re.compile(rb"ContentType\s*+=\s*+[\"']([^\"'<>]{1,300})[\"']", re.IGNORECASE)
_MAIN_PARTS = (b".main", b".main+xml")
_ODF = {
    "application/vnd.oasis.opendocument.text": types.ODT,
    "application/vnd.oasis.opendocument.text-template": types.ODT,
    "application/vnd.oasis.opendocument.spreadsheet": types.ODS,
    "application/vnd.oasis.opendocument.spreadsheet-template": types.ODS,
}
_OLE2_STREAMS = (
    ("EncryptionInfo", "encrypted"),
    ("EncryptedPackage", "encrypted"),
    ("WordDocument", "application/msword"),
    ("PowerPoint Document", "application/vnd.ms-powerpoint"),
    ("Workbook", types.XLS),
    ("Book", types.XLS),
    ("__properties_version1.0", "application/vnd.ms-outlook"),
)


def detect(head: bytes, name: str | None, *, hint: str | None = None) -> str:
    """Media type from the first few KiB; cheap, for the moment when a file is accepted.

    Containers whose kind shows only inside are `application/zip` or `application/x-ole-storage` here unless
    the name tells, and are looked into by `detect_file`.

    Args:
        head: The beginning of the file, `HEAD_BYTES` are plenty.
        name: The file's name, where there is one.
        hint: The media type that a client declared; counts only for text that says nothing itself.

    Raises:
        UnsupportedMediaType: It is certain that no parser reads this.
    """
    if _is_pdf(head):
        return types.PDF
    if head.startswith(_ZIP_MAGICS):
        return _zip_by_head(head, name)
    if head.startswith(_OLE2_MAGIC):
        return types.XLS if types.by_name(name) == types.XLS else types.OLE2
    if head.startswith(b"{\\rtf"):
        raise UnsupportedMediaType("application/rtf")
    if not _is_text(head):
        raise UnsupportedMediaType(_guess_binary(head))
    return _kind_of_text(head, types.by_name(name), types.normalise(hint))


def detect_file(file: BinaryIO, name: str | None, *, hint: str | None = None) -> str:
    """Media type of a whole file; looks into containers.

    Raises:
        UnsupportedMediaType, EncryptedFile, CorruptFile.
    """
    head = file.read(HEAD_BYTES)
    media_type = detect(head, name, hint=hint)
    if head.startswith(_ZIP_MAGICS) and media_type != types.PDF:
        return _zip_by_members(file)
    if head.startswith(_OLE2_MAGIC):
        return _ole2_by_streams(file)
    return media_type


# --- Containers --------------------------------------------------------------------------------------------


def _zip_by_head(head: bytes, name: str | None) -> str:
    declared = re.match(rb".{30}mimetype(application/[\w.+-]+?)(?:PK|\Z)", head, re.DOTALL)
    if declared is not None:
        mimetype = declared[1].decode("ascii")
        if mimetype not in _ODF:
            raise UnsupportedMediaType(mimetype)
        return _ODF[mimetype]
    for folder, media_type in _OOXML_FOLDERS:
        if folder in head:
            by_name = types.by_name(name)
            return types.XLSB if media_type == types.XLSX and by_name == types.XLSB else media_type
    by_name = types.by_name(name)
    return by_name if by_name is not None and not types.is_text(by_name) else types.ZIP


def _zip_by_members(file: BinaryIO) -> str:
    with open_archive(file) as archive:
        try:
            mimetype = read_member(archive, "mimetype")
            content_types = read_member(archive, "[Content_Types].xml")
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError) as error:
            raise CorruptFile("The file is damaged: its zip container cannot be unpacked.") from error
    if mimetype is not None:
        kind = mimetype[:200].decode("latin-1").strip()
        if kind in _ODF:
            return _ODF[kind]
        raise UnsupportedMediaType(kind)
    if content_types is None:
        raise UnsupportedMediaType(types.ZIP)
    for content_type in _CONTENT_TYPE.findall(content_types):
        for word, media_type in _OOXML_MAIN_PARTS:
            if word in content_type.lower() and content_type.lower().endswith(_MAIN_PARTS):
                return media_type
    raise UnsupportedMediaType(types.ZIP)


def _ole2_by_streams(file: BinaryIO) -> str:
    names = root_streams(file)
    for name, kind in _OLE2_STREAMS:
        if name in names:
            if kind == "encrypted":
                raise EncryptedFile
            if kind != types.XLS:
                raise UnsupportedMediaType(kind)
            return kind
    raise UnsupportedMediaType(types.OLE2)


def _is_pdf(head: bytes) -> bool:
    """The mark at the beginning, or after some junk as readers allow; but a text may speak of the mark."""
    if head.lstrip(b"\xef\xbb\xbf \t\r\n\0").startswith(b"%PDF-"):
        return True
    return b"%PDF-" in head[:_PDF_WITHIN_BYTES] and not _is_text(head)


# --- Text --------------------------------------------------------------------------------------------------


def _is_text(head: bytes) -> bool:
    if head.startswith(_BOMS) or not head:
        return True
    strays = _stray_zeros(head)
    controls = len(CONTROL.findall(head)) - strays
    if is_utf8(head):
        return controls * 100 <= len(head) or wide_encoding(head) is not None
    if len(head) < _MAGIC_BYTES and 2 * len(PRINTABLE.findall(head)) < len(head) and filetype.guess(head):
        return False  # Too short to show any controls, and more magic number than words.
    # In bytes of no known encoding, zeros are strays among words only.
    is_plain = controls == 0 and (strays == 0 or mostly_printable(head.replace(b"\0", b"")))
    return is_plain or wide_encoding(head) is not None


def _stray_zeros(head: bytes) -> int:
    """Zeros one by one do not make a text binary: they are left out. Binary formats fill gaps with them."""
    zeros = head.count(0)
    return zeros if b"\0\0" not in head and zeros * 10 <= len(head) else 0


def _guess_binary(head: bytes) -> str:
    kind = filetype.guess(head)
    return kind.mime if kind is not None else types.BINARY


def _kind_of_text(head: bytes, by_name: str | None, hint: str | None) -> str:
    text = _peek(head)
    if _PAGE.match(text):
        return types.HTML
    if _XML.match(text):
        return types.HTML if _ROOT_IS_HTML.search(text[:2000]) else types.XML
    if by_name is not None and types.is_text(by_name) and by_name not in {types.TEXT, types.JSON, types.EML}:
        return by_name
    if _is_mail(text):
        return types.EML
    named = hint if by_name is None and hint is not None and types.is_text(hint) else by_name
    return _json_kind(text, named, whole=len(head) < HEAD_BYTES) or _by_content(text, named)


def _by_content(text: str, named: str | None) -> str:
    if named is not None and types.is_text(named) and named not in {types.JSON, types.EML}:
        return named
    return types.HTML if _FRAGMENT.match(text) else types.TEXT


def _peek(head: bytes) -> str:
    """The head as text, well enough to see marks in ASCII."""
    if head.startswith(_BOMS[1:]):
        big = head.startswith((b"\xfe\xff", b"\0"))
        return head.decode("utf-16-be" if big else "utf-16-le", "replace").lstrip("\ufeff")
    if (encoding := wide_encoding(head)) is not None:
        return head.decode(encoding, "replace")
    return head.removeprefix(_BOMS[0]).decode("utf-8", "replace")


def _is_mail(text: str) -> bool:
    """Header lines from the very first on, as in RFC 5322."""
    found: set[str] = set()
    for line in text.splitlines()[:_MAX_HEADER_LINES]:
        if not line.strip():
            break
        match = _HEADER_LINE.match(line)
        if match is not None:
            found.add(match[1].lower())
        elif not line[0].isspace() and not line.startswith("From "):
            return False
    known = found & _MAIL_HEADERS
    return len(known) >= _MIN_MAIL_HEADERS and bool(found & _SURE_MAIL_HEADERS)


def _json_kind(text: str, named: str | None, *, whole: bool) -> str | None:
    """JSON by parsing it; a longer text is cut in the middle, so there its beginning and its name must do."""
    stripped = text.strip()
    if not stripped.startswith(("{", "[")):
        return None
    if _loads(stripped):
        return types.JSON
    lines = [line for line in stripped.splitlines() if line.strip()]
    if len(lines) > 1 and all(map(_loads, lines[:3] if len(lines) > 3 or whole else lines[:1])):
        return types.JSON_LINES
    if whole:
        return None
    looks_like_it = re.match(r"""\{\s*"[^"]*"\s*:|\[\s*(?:[\[{"]|-?\d)""", stripped) is not None
    return types.JSON if looks_like_it and named in {None, types.JSON} else None


def _loads(text: str) -> bool:
    try:
        json.loads(text, parse_int=str)
    except (ValueError, RecursionError):
        return False
    return True


def fault_of_json(data: bytes) -> str | None:
    """Why a text is not read as JSON, or None if nothing is wrong with it."""
    try:
        json.loads(data.decode(json.detect_encoding(data), "replace"), parse_int=str)
    except RecursionError:
        return "as JSON it is nested too deeply"
    except json.JSONDecodeError as error:
        return told(error)
    return None


def told(error: json.JSONDecodeError) -> str:
    """What people need of it to find the place."""
    return f"line {error.lineno}, column {error.colno}: {error.msg}"
