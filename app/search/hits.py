"""Ranked chunks with all that is needed to show and to cite them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from app.models.lexicon import lexicon_of
from app.models.sql import fetch
from app.search.fusion import Fused, Place
from app.words.asking import Span, asked_lexemes, spans_of
from app.words.reading import placed


class Passage(NamedTuple):
    """A stretch of the document's text, `[char_start:char_end]`."""

    text: str
    char_start: int
    char_end: int
    page: int | None
    page_end: int | None


@dataclass(slots=True)
class Hit:
    """A chunk that answers."""

    chunk_id: int
    document_id: UUID
    version: int
    collection: str
    external_id: str | None
    ordinal: int
    text: str
    score: float
    legs: Mapping[str, Place]
    title: str | None
    source_name: str | None
    page: int | None
    page_end: int | None
    headings: list[str]
    char_start: int
    char_end: int
    metadata: dict[str, Any]
    highlights: list[Span] = field(default_factory=list)
    context: Passage | None = None
    rerank_score: float | None = None


async def load(fused: Sequence[Fused], question: str) -> list[Hit]:
    """The hits in their order, with the question's words marked; what was deleted meanwhile is left out."""
    # Not the row's present title: an update may be under way, and these are still the old version's chunks.
    rows = await fetch(
        """
        SELECT c.id AS chunk_id, c.document_id, c.version, d.collection, d.external_id, c.ordinal, c.text,
            d.cited, c.page, COALESCE(c.page_end, c.page) AS page_end, c.headings, c.char_start, c.char_end,
            n.language
        FROM chunks AS c JOIN documents AS d ON d.id = c.document_id
            JOIN collections AS n ON n.name = d.collection AND n.deleting_at IS NULL
        WHERE c.id = ANY($1::bigint[])
        """,
        [each.chunk_id for each in fused],
    )
    texts: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        texts[row["language"]].append(row["text"])
    marks = {language: await _marks(question, language, some) for language, some in texts.items()}
    known = {row["chunk_id"]: row for row in rows}
    return [_hit(known[each.chunk_id], each, marks) for each in fused if each.chunk_id in known]


async def _marks(question: str, language: str, texts: Sequence[str]) -> dict[str, list[Span]]:
    """Where each of the texts has words of the question."""
    keys = {each.key for text in (question, *texts) for each in placed(text)}
    lexicon = await lexicon_of(language, keys)
    asked = asked_lexemes(question, lexicon)
    return {text: spans_of(asked, text, lexicon) for text in texts}


def _hit(row: dict[str, Any], fused: Fused, marks: Mapping[str, Mapping[str, list[Span]]]) -> Hit:
    cited = json.loads(row.pop("cited"))
    highlights = marks[row.pop("language")][row["text"]]
    return Hit(**row, **cited, score=fused.score, legs=fused.legs, highlights=highlights)


async def add_context(hits: Sequence[Hit], chunks: int) -> None:
    """Give each hit its text with so many chunks before and after it, what they share only once."""
    rows = await fetch(
        """
        SELECT asked.number, c.gap, c.text, c.char_start, c.char_end, c.page,
            COALESCE(c.page_end, c.page) AS page_end
        FROM unnest($1::uuid[], $2::int[], $3::int[]) WITH ORDINALITY AS asked (id, version, ordinal, number)
            JOIN chunks AS c ON c.document_id = asked.id AND c.version = asked.version
                AND c.ordinal BETWEEN asked.ordinal - $4::int AND asked.ordinal + $4::int
        ORDER BY asked.number, c.ordinal
        """,
        [hit.document_id for hit in hits],
        [hit.version for hit in hits],
        [hit.ordinal for hit in hits],
        chunks,
    )
    for number, hit in enumerate(hits, start=1):
        hit.context = _merged([row for row in rows if row["number"] == number])


def _merged(rows: Sequence[Mapping[str, Any]]) -> Passage | None:
    if not rows:
        return None  # Deleted, or replaced, since it was found.
    start, end = rows[0]["char_start"], rows[0]["char_start"]
    page = page_end = rows[0]["page"]
    text = ""
    for number, row in enumerate(rows):
        if row["char_start"] >= end:
            text += (row["gap"] if number else "") + row["text"]
        else:
            text += row["text"][end - row["char_start"] :]
        if row["char_end"] > end:
            end, page_end = row["char_end"], row["page_end"]
    return Passage(text, start, end, page, page_end)
