"""`sluice completion`: what a shell has to know to complete commands, options and names of collections."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from typer import completion as typers

if TYPE_CHECKING:
    from app.client import Sluice

PROGRAM = "sluice"
VARIABLE = "_SLUICE_COMPLETE"

#: A shell that waits for a server is worse than one that does not complete.
PATIENCE_S = 1.0

#: Documents whose ids are offered.
OFFERED = 50

T = TypeVar("T")


class Shell(StrEnum):
    """Those that are known."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument(help="Which one it is for.")]) -> None:
    """Print the script that completes commands in a shell.

    `eval "$(sluice completion bash)"` in ~/.bashrc; the same with zsh in ~/.zshrc, behind compinit;
    `sluice completion fish | source` in ~/.config/fish/config.fish.
    """
    print(
        typers.get_completion_script(  # type: ignore[attr-defined]  # Its documented options call it, too.
            prog_name=PROGRAM, complete_var=VARIABLE, shell=shell.value
        )
    )


def teach_shells() -> None:
    """Before a shell's question is answered: what each shell's questions and answers look like."""
    typers.completion_init()  # type: ignore[attr-defined]  # As above.


def collection_names(incomplete: str) -> list[str]:
    """Collections of the server that begin so; none when it does not answer at once."""
    return _asked(
        lambda sluice: [n for each in sluice.collections() if (n := each.name).startswith(incomplete)]
    )


def document_ids(incomplete: str) -> list[tuple[str, str]]:
    """The newest documents whose ids begin so, each with its name and status for shells that show them."""

    from rich.markup import escape  # noqa: PLC0415  # Only shells ask.

    from app.cli.remote.output import clean  # noqa: PLC0415

    def newest(sluice: Sluice) -> list[tuple[str, str]]:
        # Typer reads what it shows beside a word as markup.
        found = islice(sluice.documents(page_size=OFFERED), OFFERED)
        return [
            (str(each.document_id), escape(f"{each.status} {clean(each.external_id or each.name)}"))
            for each in found
            if str(each.document_id).startswith(incomplete)
        ]

    return _asked(newest)


def _asked(question: Callable[[Sluice], list[T]]) -> list[T]:
    from app.client import Retries, Sluice, SluiceError  # noqa: PLC0415  # Only shells ask.

    try:
        with Sluice(retries=Retries(tries=1, wait_for_server=False), timeout_s=PATIENCE_S) as sluice:
            return question(sluice)
    except SluiceError:
        return []
