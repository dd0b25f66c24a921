"""JSON and lines of JSON as an outline: each key once, its values below it.

Full paths on each line (`a.b.c: value`) would repeat the outer keys a thousand times, and so make them
worthless for keyword search; the raw text would hide words behind quotes and escapes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from app.errors import CorruptFile
from app.parsing.detection import told
from app.parsing.text import read_text
from app.parsing.text_builder import TextBuilder

_OVERHEAD = 4  # Escapes and indentation make JSON longer than what it says.
_INDENT = "  "
_MAX_INDENT = 20  # Deeper nesting keeps its order but is not pushed further to the right.


def parse_json(file: BinaryIO, builder: TextBuilder) -> None:
    text = read_text(file, builder, overhead=_OVERHEAD)
    try:
        value = _load(text)
    except json.JSONDecodeError as error:
        builder.warn(f"The file is not valid JSON and was read as plain text ({told(error)}).")
        builder.paragraph(text)
        return
    if isinstance(value, dict):
        title = value.get("title")
        builder.set_title(title if isinstance(title, str) else None)
    _append(value, builder)


def parse_json_lines(file: BinaryIO, builder: TextBuilder) -> None:
    """One value per line; a line that is not JSON stays as it is."""
    for line in read_text(file, builder, overhead=_OVERHEAD).splitlines():
        try:
            value = _load(line)
        except ValueError:
            builder.paragraph(line)
        else:
            builder.paragraph("\n".join(_outline(value)))


def _load(text: str) -> Any:
    """Numbers stay as they are written: 1.10 may be a version, and a long one costs no time."""
    try:
        return json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except RecursionError as error:
        raise CorruptFile("The JSON is nested too deeply.") from error


def _append(value: Any, builder: TextBuilder) -> None:
    """Records of a list are paragraphs of their own."""
    if isinstance(value, list) and any(isinstance(record, dict | list) for record in value):
        for record in value:
            builder.paragraph("\n".join(_outline(record)))
        return
    append = builder.paragraph
    for line in _outline(value):
        if append(line) is not None:
            append = builder.line


def _outline(value: Any, depth: int = 0) -> Iterator[str]:
    indent = _INDENT * min(depth, _MAX_INDENT)
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, dict | list) and item:
                yield f"{indent}{key}:"
                yield from _outline(item, depth + 1)
            else:
                yield f"{indent}{key}: {_scalar(item)}"
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, dict | list) and item:
                lines = _outline(item, depth + 1)
                yield f"{indent}- {next(lines, '').lstrip()}"
                yield from lines
            else:
                yield f"{indent}- {_scalar(item)}"
    else:
        yield f"{indent}{_scalar(value)}"


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return value
    return (
        json.dumps(value) if value is None or isinstance(value, bool) else ""
    )  # Empty containers say nothing.
