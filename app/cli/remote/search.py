"""`sluice search`: passages, each with the place where it stands and the words of the question in it."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated

import typer
from rich.padding import Padding
from rich.text import Text

from app.cli.remote.command import Session, require_collections
from app.cli.remote.completion import collection_names
from app.cli.remote.options import json_object
from app.cli.remote.output import Output, clean
from app.client import Hit
from app.core.wording import EXCERPT, excerpt, pages, trail

MARK = "bold yellow"

#: Before and after a row of a table, as parsers write it.
ROW = re.compile(r"\n(?=\|)|(?<=\|)\n")

#: As the server reads them.
EXCLUSION = re.compile(r'(?<!\S)-(?:"[^"]*"|[^\s"]+)')
NOTHING_ASKED = ": the question says only what is not to be in it. Add what to look for."


class Mode(StrEnum):
    """By words, by meaning, or by both."""

    HYBRID = "hybrid"
    VECTOR = "vector"
    KEYWORD = "keyword"


def search(
    context: typer.Context,
    query: Annotated[
        str,
        typer.Argument(
            help='In plain words; "phrases" and -exclusions count, too. Behind -- if one comes first.'
        ),
    ],
    *,
    collection: Annotated[
        list[str] | None,
        typer.Option("--collection", "-c", help="Only in these.", autocompletion=collection_names),
    ] = None,
    mode: Annotated[Mode, typer.Option(help="By words, by meaning, or by both.")] = Mode.HYBRID,
    top_k: Annotated[int, typer.Option("--top-k", "-k", min=1, max=200, help="At most so many hits.")] = 5,
    filter: Annotated[  # As the API calls it.
        str | None,
        typer.Option(help='JSON, as in docs/search.md: {"field": "metadata.season", "eq": "summer"}.'),
    ] = None,
    min_score: Annotated[
        float | None, typer.Option(help="Leave out hits with a lower score; in hybrid, by rank.")
    ] = None,
    per_document: Annotated[
        int | None, typer.Option(min=1, max=200, help="At most so many hits of one document.")
    ] = None,
    neighbours: Annotated[
        int, typer.Option(min=0, max=5, help="With --json: add so many chunks around each hit.")
    ] = 0,
    full: Annotated[bool, typer.Option("--full", help="Show whole passages.")] = False,
    rerank: Annotated[bool, typer.Option("--rerank", help="Let the server's reranker order them.")] = False,
) -> None:
    """Find the passages that answer a question best."""
    session = Session.of(context)
    chosen = None if filter is None else json_object(filter)
    with session.sluice() as sluice:
        hits = sluice.search(
            query,
            mode=mode.value,
            top_k=top_k,
            collections=collection,
            filter=chosen,
            min_score=min_score,
            max_per_document=per_document,
            context=neighbours,
            rerank=rerank,
        )
        if not hits:
            require_collections(sluice, *(collection or ()))
    if session.out.as_json:
        session.out.json([hit.model_dump(mode="json") for hit in hits])
        return
    if not hits:
        session.out.note(f"Nothing was found{NOTHING_ASKED if asks_for_nothing(query) else '.'}")
    for number, hit in enumerate(hits, 1):
        show_hit(session.out, number, hit, full=full)


def asks_for_nothing(query: str) -> bool:
    """Whether there are only exclusions in it."""
    return query.count('"') % 2 == 0 and not EXCLUSION.sub(" ", query).strip()


def show_hit(out: Output, number: int, hit: Hit, *, full: bool = False) -> None:
    """A hit in a few lines: where it stands, and the part of it that has the words."""
    if number > 1:
        out.say()
    heading = Text.assemble(
        (f"{number:2} ", "bold"), (f"{hit.score:.3f}  ", "cyan"), (place_of(hit), "green")
    )
    out.results.print(heading, soft_wrap=not out.results.is_terminal)
    passage = passage_of(hit, length=len(hit.text) if full else EXCERPT, keeps_rows=True)
    if out.results.is_terminal:
        out.results.print(Padding(passage, (0, 0, 0, 3)))
        return
    for line in passage.split("\n"):
        out.say(Text("   ").append_text(line))


def place_of(hit: Hit) -> str:
    """Document, pages and headings."""
    citation = hit.citation
    name = clean(hit.external_id or citation.source or citation.title or hit.document_id)
    if hit.collection != "default":
        name = f"{clean(hit.collection)}/{name}"
    page = f", {pages(citation.page, citation.page_end)}" if citation.page else ""
    headings = f" › {trail([*map(clean, citation.headings)])}" if citation.headings else ""
    return f"{name}{page}{headings}"


def passage_of(hit: Hit, *, length: int = EXCERPT, keeps_rows: bool = False) -> Text:
    """What a hit says, its words marked; of a long one, the part with most of them.

    It is one line, or, to keep the rows of tables, as many as it takes.
    """
    text = Text()
    for part, is_word in excerpt(hit, length=length):
        for number, piece in enumerate(ROW.split(part) if keeps_rows else [part]):
            if number:
                text.rstrip()
                text.append("\n")
            # Spaces around a word belong to the sentence, and stay; all others become one.
            begins, ends = piece[:1].isspace(), piece[-1:].isspace() and len(piece) > 1
            begins = begins and not text.plain.endswith((" ", "\n"))
            text.append(
                f"{' ' if begins else ''}{clean(piece)}{' ' if ends else ''}", MARK if is_word else ""
            )
    return text
