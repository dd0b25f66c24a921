"""The media types that Sluice knows, and the names of files that hold them."""

from __future__ import annotations

from pathlib import PurePath

TEXT = "text/plain"
MARKDOWN = "text/markdown"
HTML = "text/html"
CSV = "text/csv"
TSV = "text/tab-separated-values"
XML = "application/xml"
JSON = "application/json"
JSON_LINES = "application/x-ndjson"
EML = "message/rfc822"
PDF = "application/pdf"
ZIP = "application/zip"
OLE2 = "application/x-ole-storage"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
XLSB = "application/vnd.ms-excel.sheet.binary.macroenabled.12"
XLS = "application/vnd.ms-excel"
ODT = "application/vnd.oasis.opendocument.text"
ODS = "application/vnd.oasis.opendocument.spreadsheet"
BINARY = "application/octet-stream"

SOURCE_PREFIX = "text/x-"

_ENDINGS_OF = {
    TEXT: "txt text log rst adoc org srt vtt",
    MARKDOWN: "md markdown mdown mkd mdx",
    HTML: "html htm xhtml shtml",
    CSV: "csv",
    TSV: "tsv tab",
    XML: "xml xsd xsl xslt rss atom svg",
    JSON: "json geojson ipynb",
    JSON_LINES: "jsonl ndjson",
    EML: "eml",
    PDF: "pdf",
    DOCX: "docx docm dotx dotm",
    PPTX: "pptx pptm ppsx ppsm potx potm",
    XLSX: "xlsx xlsm xltx xltm",
    XLSB: "xlsb",
    XLS: "xls xlt",
    ODT: "odt ott",
    ODS: "ods ots",
}
_SOURCE_ENDINGS_OF = {
    "python": "py pyi pyw", "java": "java", "kotlin": "kt kts", "scala": "scala sc", "go": "go", "rust": "rs",
    "c": "c h", "c++": "cc cpp cxx hh hpp hxx", "csharp": "cs", "swift": "swift", "objective-c": "m mm",
    "javascript": "js mjs cjs jsx", "typescript": "ts tsx mts cts", "vue": "vue", "svelte": "svelte",
    "css": "css scss sass less", "php": "php", "ruby": "rb", "perl": "pl pm", "lua": "lua", "r": "r",
    "julia": "jl", "haskell": "hs", "ocaml": "ml mli", "fsharp": "fs fsx", "erlang": "erl",
    "elixir": "ex exs", "clojure": "clj cljs", "lisp": "lisp el scm", "dart": "dart", "zig": "zig",
    "nim": "nim", "shell": "sh bash zsh fish", "powershell": "ps1 psm1", "batch": "bat cmd", "sql": "sql",
    "graphql": "graphql gql", "protobuf": "proto", "terraform": "tf hcl", "yaml": "yaml yml", "toml": "toml",
    "ini": "ini cfg conf properties env", "makefile": "mk", "cmake": "cmake", "groovy": "groovy gradle",
    "latex": "tex sty cls bib", "diff": "diff patch", "assembly": "s asm", "fortran": "f f90 f95",
    "pascal": "pas", "ada": "adb ads", "verilog": "v sv", "vhdl": "vhd",
}  # fmt: skip
_ENDINGS = {
    ending: media_type
    for media_type, endings in (
        *_ENDINGS_OF.items(),
        *((f"{SOURCE_PREFIX}{language}", endings) for language, endings in _SOURCE_ENDINGS_OF.items()),
    )
    for ending in endings.split()
}
_WHOLE_NAMES = {
    "makefile": f"{SOURCE_PREFIX}makefile",
    "dockerfile": f"{SOURCE_PREFIX}dockerfile",
    "readme": TEXT,
    "license": TEXT,
}
TEXT_TYPES = frozenset({TEXT, MARKDOWN, HTML, CSV, TSV, XML, JSON, JSON_LINES, EML})
_OTHER_NAMES = {
    "text/xml": XML, "text/json": JSON, "application/jsonl": JSON_LINES, "application/xhtml+xml": HTML,
    "application/csv": CSV, "text/x-markdown": MARKDOWN, "application/x-ndjson": JSON_LINES,
}  # fmt: skip


def by_name(name: str | None) -> str | None:
    """What the ending of the name promises, or None."""
    if not name:
        return None
    path = PurePath(name.replace("\\", "/").lower())
    return _ENDINGS.get(path.suffix[1:]) or _WHOLE_NAMES.get(path.name)


def is_text(media_type: str | None) -> bool:
    return media_type is not None and (media_type in TEXT_TYPES or media_type.startswith(SOURCE_PREFIX))


def normalise(media_type: str | None) -> str | None:
    """`Text/XML; charset=…` → `application/xml`; None if it says nothing."""
    bare = (media_type or "").partition(";")[0].strip().lower()
    return _OTHER_NAMES.get(bare, bare) or None
