"""`sluice collections`: what there is, and its settings."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.text import Text

from app.cli.remote.command import ServerCommand, Session
from app.cli.remote.completion import collection_names
from app.cli.remote.exits import ExitCode
from app.cli.remote.options import WrongCall, YesOption
from app.cli.remote.output import clean, moment
from app.cli.remote.steering import confirm
from app.client import Collection
from app.client.errors import CollectionNotFound
from app.core import wording

collections = typer.Typer(
    name="collections",
    help="List, make, change and delete collections.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

#: Of a setting that a collection has no value of its own for.
AS_SET = "as set for the server"

NameArgument = Annotated[str, typer.Argument(help="Of the collection.", autocompletion=collection_names)]


class EmbedderName(StrEnum):
    """What can make vectors."""

    MINILM = "minilm"
    STATIC = "static"
    OPENAI = "openai"
    HASH = "hash"


LanguageOption = Annotated[
    str | None, typer.Option(help="Whose words they are, like english or german; simple for none.")
]
ChunkOption = Annotated[int | None, typer.Option(min=1, help="Tokens of a chunk, at most.")]
OverlapOption = Annotated[int | None, typer.Option(min=0, help="Tokens that neighbours share.")]
EmbedderOption = Annotated[EmbedderName | None, typer.Option(help="What makes its vectors.")]


@collections.command("list", cls=ServerCommand)
def list_all(context: typer.Context) -> None:
    """List all, with what is in each."""
    session = Session.of(context)
    with session.sluice() as sluice:
        found = list(sluice.collections())
    if session.out.as_json:
        session.out.json([each.model_dump(mode="json") for each in found])
        return
    columns = ("collection", "documents", "failed", "chunks", "size", "language")
    rows = [_row(each) for each in found]
    session.out.table(columns, rows, right="documents failed chunks size", keeps_first=True)


def _row(collection: Collection) -> list[str | Text]:
    failed = collection.documents.get("FAILED", 0)
    return [
        clean(collection.name) + (" (is being deleted)" if collection.deletion else ""),
        f"{sum(collection.documents.values()):,}",
        Text(f"{failed:,}", style="red" if failed else ""),
        f"{collection.chunks:,}",
        wording.size(collection.size_bytes),
        clean(collection.language),
    ]


@collections.command(cls=ServerCommand)
def show(context: typer.Context, name: NameArgument) -> None:
    """Show one: its settings, and how a re-embedding or a deletion gets on."""
    session = Session.of(context)
    with session.sluice() as sluice:
        collection = sluice.collection(name)
    tell(session, collection)


@collections.command(cls=ServerCommand)
def create(
    context: typer.Context,
    name: NameArgument,
    *,
    language: LanguageOption = None,
    chunk_tokens: ChunkOption = None,
    overlap_tokens: OverlapOption = None,
    embedder: EmbedderOption = None,
) -> None:
    """Make one with settings of its own. One that nobody made is made by its first document."""
    session = Session.of(context)
    with session.sluice() as sluice:
        try:
            sluice.collection(name)
        except CollectionNotFound:
            pass
        else:
            raise WrongCall(f"{name} is there already: change it by `sluice collections set`.")
        tell(session, sluice.put_collection(name, **_said(language, chunk_tokens, overlap_tokens, embedder)))


@collections.command("set", cls=ServerCommand)
def change(
    context: typer.Context,
    name: NameArgument,
    *,
    language: LanguageOption = None,
    chunk_tokens: ChunkOption = None,
    overlap_tokens: OverlapOption = None,
    embedder: EmbedderOption = None,
) -> None:
    """Change the settings of one; what is left out stays.

    With another embedder, or the same after its model was changed, it is embedded anew in the background.
    """
    said = _said(language, chunk_tokens, overlap_tokens, embedder)
    if not said:
        raise WrongCall("Say what to change: --language, --chunk-tokens, --overlap-tokens or --embedder.")
    session = Session.of(context)
    with session.sluice() as sluice:
        sluice.collection(name)  # `set` makes none: a name that was mistyped has to be told.
        tell(session, sluice.put_collection(name, **said))


def _said(
    language: str | None, chunk_tokens: int | None, overlap_tokens: int | None, embedder: EmbedderName | None
) -> dict[str, Any]:
    said = {
        "language": language,
        "chunk_tokens": chunk_tokens,
        "overlap_tokens": overlap_tokens,
        "embedder": None if embedder is None else embedder.value,
    }
    return {name: value for name, value in said.items() if value is not None}


@collections.command(cls=ServerCommand)
def delete(context: typer.Context, name: NameArgument, *, yes: YesOption = False) -> None:
    """Delete one with all that is in it: not found from now on, removed in the background."""
    session = Session.of(context)
    with session.sluice() as sluice:
        number = sum(sluice.collection(name).documents.values())
        if not confirm(f"Delete {clean(name)} with {wording.count(number, 'document')}", yes=yes):
            session.out.note("Nothing was done.")
            raise typer.Exit(ExitCode.FAILED)
        left = sluice.delete_collection(name)
    if session.out.as_json:
        session.out.json(None if left is None else left.model_dump(mode="json"))
    else:
        session.out.say(f"{clean(name)} is being deleted: `sluice collections show` tells how much is left.")


def tell(session: Session, collection: Collection) -> None:
    """A collection in lines."""
    if session.out.as_json:
        session.out.json(collection.model_dump(mode="json"))
        return
    session.out.pairs((Text(name, style="dim"), said) for name, said in facts(collection))


def facts(collection: Collection) -> Iterator[tuple[str, str]]:
    """What there is to know about it."""
    yield "collection", clean(collection.name)
    yield "made", moment(collection.created_at)
    counts = [f"{number:,} {name}" for name, number in collection.documents.items() if number]
    yield "documents", " · ".join(counts) or "none"
    yield "chunks", f"{collection.chunks:,}"
    yield "size", wording.size(collection.size_bytes)
    yield "language", clean(collection.language)
    tokens, overlap = collection.chunk_tokens, collection.overlap_tokens
    yield "chunk tokens", AS_SET if tokens is None else f"{tokens:,}"
    yield "overlap", AS_SET if overlap is None else f"{overlap:,}"
    model = collection.embedding
    yield (
        "model",
        f"{model.embedder}: {model.model}, {model.dimensions} dimensions" if model else "not settled yet",
    )
    if again := collection.reembedding:
        trouble = f"; {again.error.code}: {clean(again.error.message)}" if again.error else ""
        done = f"{again.chunks_done:,} of {again.chunks_total:,} chunks"
        yield "re-embedding", f"to {again.embedding.model}, {done}{trouble}"
    if collection.deletion:
        yield "deletion", f"{wording.count(collection.deletion.documents_left, 'document')} left"
