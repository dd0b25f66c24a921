"""`sluice completion`: what a shell has to know to complete commands, options and names of collections."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from typer import completion as typers

PROGRAM = "sluice"
VARIABLE = "_SLUICE_COMPLETE"

#: A shell that waits for a server is worse than one that does not complete.
PATIENCE_S = 1.0


class Shell(StrEnum):
    """Those that are known."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument(help="Which one it is for.")]) -> None:
    """Print the script that completes commands in a shell.

    For bash: `eval "$(sluice completion bash)"` in ~/.bashrc.
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
    from app.client import Retries, Sluice, SluiceError  # noqa: PLC0415  # Only shells ask.

    try:
        with Sluice(retries=Retries(tries=1, wait_for_server=False), timeout_s=PATIENCE_S) as sluice:
            return [each.name for each in sluice.collections() if each.name.startswith(incomplete)]
    except SluiceError:
        return []
