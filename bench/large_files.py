"""Large files that are made as they are sent: text without an end, and a PDF of real pages."""

from __future__ import annotations

import io
import random
from collections.abc import Iterable, Iterator
from itertools import count, cycle, islice
from pathlib import Path

import httpx
import pypdfium2 as pdfium

from bench.processes import MEBIBYTE
from bench.support import corpora

BOUNDARY = b"sluice-bench"
#: So that every page has something to be found by.
LEAST_CHARS_OF_A_PAGE = 500
PAGES_AT_ONCE = 100


def post(url: str, name: str, blocks: Iterable[bytes]) -> str:
    """Upload a file block by block; where its document is.

    Raises:
        httpx.HTTPStatusError: It was not accepted.
    """
    answer = httpx.post(
        f"{url}/ingest",
        content=multipart(name, blocks),
        headers={"content-type": f"multipart/form-data; boundary={BOUNDARY.decode()}"},
        timeout=600,
        trust_env=False,
    )
    answer.raise_for_status()
    return answer.headers["location"]


def multipart(name: str, blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The body of the request."""
    yield (
        b'--%s\r\ncontent-disposition: form-data; name="file"; filename="%s"\r\n\r\n'
        % (BOUNDARY, name.encode())
    )
    yield from blocks
    yield b"\r\n--%s--\r\n" % BOUNDARY


def text(megabytes: int, number: int) -> Iterator[bytes]:
    """A text in paragraphs, of the same size in characters, that no other number has."""
    chance = random.Random(number)
    sentences = some_sentences(chance)
    for block in range(megabytes):
        paragraphs = (" ".join(chance.choices(sentences, k=8)) for _ in count())
        head = f"Log {number}, part {block}.\n\n"
        yield sized(head, paragraphs, MEBIBYTE).encode()


def some_sentences(chance: random.Random, *, how_many: int = 20_000) -> list[str]:
    """Of made-up words, so many that passages differ."""
    words = ["".join(chance.choices("abcdefghijklmnoprstuvw", k=chance.randint(2, 9))) for _ in range(5000)]
    return [" ".join(chance.choices(words, k=chance.randint(6, 18))) + "." for _ in range(how_many)]


def sized(head: str, paragraphs: Iterator[str], chars: int) -> str:
    """So many characters of these."""
    pieces, length = [head], len(head)
    while length < chars:
        pieces.append(next(paragraphs) + "\n\n")
        length += len(pieces[-1])
    return "".join(pieces)[:chars]


def pdf(pages: int) -> bytes:
    """The corpora's PDF pages that have text, one after the other and from the beginning again."""
    sources = [(source, numbers) for source, numbers in map(readable, pdf_paths()) if numbers]
    made, left = pdfium.PdfDocument.new(), pages
    for source, numbers in cycle(sources):
        some = list(islice(numbers, min(left, PAGES_AT_ONCE)))
        made.import_pages(source, some)
        left -= len(some)
        if not left:
            break
    target = io.BytesIO()
    made.save(target)
    return target.getvalue()


def pdf_paths() -> list[Path]:
    return sorted(corpora("pdf").rglob("*.pdf"))


def readable(path: Path) -> tuple[pdfium.PdfDocument | None, list[int]]:
    """The PDF and which of its pages have text: none, if it cannot be opened."""
    try:
        source = pdfium.PdfDocument(path)
    except pdfium.PdfiumError:  # Encrypted, or broken on purpose.
        return None, []
    return source, [n for n, page in enumerate(source) if chars_of(page) >= LEAST_CHARS_OF_A_PAGE]


def chars_of(page: pdfium.PdfPage) -> int:
    count_of_chars: int = page.get_textpage().count_chars()
    return count_of_chars
