"""Mixed documents, the same for the same seed: of many sizes and types, some updated, some sent twice."""

from __future__ import annotations

import csv
import io
import json
import random
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SAMPLES = Path(__file__).parents[2] / "samples"
SEED = 20_261_124
VOCABULARY = (
    "lock gate keeper sluice water level flood barge heron chamber paddle towpath winter pump bearing toll "
    "passage bridge market weir gauge reading upper lower morning evening repair grease chain timber stone "
    "Schleuse Wärter Brücke écluse péniche niveau inspection drawing rule annual cost report valve"
)
WORDS = VOCABULARY.split()
COLLECTIONS = ("default", "canal", "archive")

#: Above INLINE_CONTENT_BYTES: such a content is a file of the store instead of a row.
STORED_BYTES = 70_000


@dataclass(frozen=True, slots=True)
class Post:
    """One request to `POST /ingest`."""

    content: bytes
    name: str | None = None  # Of the uploaded file; None sends JSON text.
    external_id: str | None = None
    collection: str = "default"

    def request(self) -> dict[str, Any]:
        """Arguments for httpx; the same body each time."""
        fields = {"collection": self.collection}
        if self.external_id is not None:
            fields["external_id"] = self.external_id
        if self.name is None:
            return {"json": {**fields, "text": self.content.decode()}}
        return {"data": fields, "files": {"file": (self.name, self.content)}}


@dataclass(frozen=True, slots=True)
class Item:
    """A document as a client knows it: what it posts, one after the other, and how that may end."""

    key: str  # Items of one key are one document.
    posts: tuple[Post, ...]  # The last one is what has to be found in the end.
    codes: frozenset[str] = frozenset()  # Errors that it may end with; otherwise it has to be COMPLETED.


def workload(count: int, *, seed: int = SEED) -> list[Item]:
    """`count` documents; a tenth of them are updated, another tenth are sent by two clients at once.

    The first hundred are the same, however many there are.
    """
    rng = random.Random(seed)
    items = [_item(number, random.Random(rng.random())) for number in range(count)]
    singles = [item for item in items if len(item.posts) == 1]
    doubles = rng.sample(singles, min(len(singles), count // 10))
    places = [(position, item) for position, item in enumerate(items)]
    # Right behind its twin, so that the two are on their way at the same time.
    for double in doubles:
        position = items.index(double)
        places.append((position, double))
    return [item for _, item in sorted(places, key=lambda place: place[0])]


def large_text(key: str, size_bytes: int, *, seed: int = SEED) -> Item:
    """A text that takes seconds to store."""
    return Item(key, (Post(_prose(random.Random(f"{seed}{key}"), key, size_bytes).encode()),))


def _item(number: int, rng: random.Random) -> Item:
    key = f"d{number:05}"
    kind = rng.choice(KINDS)
    is_updated = number % 10 == 3
    external_id = f"canal/{key}" if is_updated or number % 5 == 1 else None
    collection = rng.choice(COLLECTIONS)
    versions = 1 + (is_updated and 1 + (number % 20 == 3))
    return Item(
        key,
        tuple(
            Post(*kind(rng, f"Report {key}, version {version}"), external_id, collection)
            for version in range(1, versions + 1)
        ),
    )


def _size(rng: random.Random) -> int:
    if rng.random() < 0.05:
        return rng.randrange(STORED_BYTES, 3 * STORED_BYTES)
    return int(200 * 2 ** rng.uniform(0, 6))


def _sentence(rng: random.Random) -> str:
    words = [rng.choice(WORDS) for _ in range(rng.randrange(5, 15))]
    return f"{' '.join(words).capitalize()} {rng.randrange(10_000)}."


def _prose(rng: random.Random, title: str, size_bytes: int) -> str:
    parts, size = [f"{title}."], 0
    while size < size_bytes:
        parts.append(_sentence(rng) + ("\n\n" if rng.random() < 0.15 else ""))
        size += len(parts[-1]) + 1
    return " ".join(parts)


def _text(rng: random.Random, title: str) -> tuple[bytes, None]:
    return _prose(rng, title, _size(rng)).encode(), None


def _text_file(rng: random.Random, title: str) -> tuple[bytes, str]:
    return _prose(rng, title, _size(rng)).encode(rng.choice(["utf-8", "utf-16"])), "notes.txt"


def _markdown(rng: random.Random, title: str) -> tuple[bytes, str]:
    sections = [
        f"## Part {part}\n\n{_prose(rng, title, _size(rng) // 3)}\n\n- {_sentence(rng)}\n- {_sentence(rng)}\n"
        for part in range(3)
    ]
    return f"# {title}\n\n{''.join(sections)}".encode(), "notes.md"


def _html(rng: random.Random, title: str) -> tuple[bytes, str]:
    paragraphs = "".join(f"<p>{text}</p>" for text in _prose(rng, title, _size(rng)).split("\n\n"))
    head = f"<!doctype html><html><head><title>{title}</title></head>"
    return f"{head}<body><h1>{title}</h1>{paragraphs}</body></html>".encode(), "page.html"


def _json(rng: random.Random, title: str) -> tuple[bytes, str]:
    records = [{"name": rng.choice(WORDS), "note": _sentence(rng)} for _ in range(rng.randrange(1, 40))]
    return json.dumps({"title": title, "records": records}).encode(), "records.json"


def _csv(rng: random.Random, title: str) -> tuple[bytes, str]:
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(["gauge", "level", title])
    writer.writerows(
        [rng.choice(WORDS), rng.randrange(500), _sentence(rng)] for _ in range(rng.randrange(2, 60))
    )
    return file.getvalue().encode(), "readings.csv"


def _docx(rng: random.Random, title: str) -> tuple[bytes, str]:
    """The sample with paragraphs of its own in front."""
    added = "".join(
        f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>" for text in [title, *(_sentence(rng) for _ in range(9))]
    )
    file = io.BytesIO()
    with zipfile.ZipFile(SAMPLES / "operating-rules.docx") as sample, zipfile.ZipFile(file, "w") as made:
        for part in sample.infolist():
            content = sample.read(part)
            if part.filename == "word/document.xml":
                content = content.replace(b"<w:body>", b"<w:body>" + added.encode(), 1)
            made.writestr(zipfile.ZipInfo(part.filename), content, zipfile.ZIP_DEFLATED)
    return file.getvalue(), "rules.docx"


def _pdf(rng: random.Random, title: str) -> tuple[bytes, str]:
    pages = [
        [title, *(_sentence(rng) for _ in range(rng.randrange(3, 25)))] for _ in range(rng.randrange(1, 5))
    ]
    return write_pdf([_page_content(lines) for lines in pages]), "guide.pdf"


def _page_content(lines: Sequence[str]) -> bytes:
    shown = " ".join(f"({line}) Tj 0 -14 Td" for line in lines)
    return f"BT /F 10 Tf 40 780 Td {shown} ET".encode("latin-1", "replace")


def write_pdf(contents: Sequence[bytes], *, resources: bytes = b"", objects: Sequence[bytes] = ()) -> bytes:
    """A PDF with a page for each of the content streams.

    Args:
        contents: Of the pages, as operators.
        resources: Added to those of every page.
        objects: Further ones; the first has the number 4.
    """
    font = b"/Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>>>"
    first = 4 + len(objects)
    numbers = range(first, first + 2 * len(contents), 2)
    kids = b" ".join(b"%d 0 R" % number for number in numbers)
    parts = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, len(contents)),
        b"<<%s%s>>" % (font, resources),
        *objects,
    ]
    for number, content in zip(numbers, contents, strict=True):
        parts.append(
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Resources 3 0 R/Contents %d 0 R>>"
            % (number + 1)
        )
        parts.append(pdf_stream(content))
    return _assembled(parts)


def pdf_stream(content: bytes, entries: bytes = b"") -> bytes:
    """A stream object."""
    return b"<</Length %d%s>>stream\n%s\nendstream" % (len(content), entries, content)


def _assembled(parts: Sequence[bytes]) -> bytes:
    body, offsets = b"%PDF-1.7\n", []
    for number, part in enumerate(parts, 1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, part)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(parts) + 1
    return (
        b"%sxref\n0 %d\n0000000000 65535 f \n%strailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF"
        % (
            body,
            size,
            table,
            size,
            len(body),
        )
    )


KINDS: Sequence[Callable[[random.Random, str], tuple[bytes, str | None]]] = (
    _text,
    _text,
    _text_file,
    _markdown,
    _html,
    _json,
    _csv,
    _docx,
    _pdf,
)
