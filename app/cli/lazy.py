"""Commands that are imported when they are called, so that each starts as quickly as what it needs itself."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

from app.errors import StartupError

ROOT = Path(__file__).parents[2]

#: Of `up`, `demo` and `down`, wherever they are called.
DEFAULT_DATA = ROOT / ".data"

#: Their arguments are their own: none of them is looked at here, not even --help.
PASS_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


@dataclass(frozen=True, slots=True)
class Entry:
    """A command that is not imported yet.

    Args:
        module: Where it is, below `app.cli`: a function, or a group of commands, that is called like it.
        summary: The first sentence of its help.
        is_remote: It is for a server that may be anywhere, and knows nothing of the one in this folder.
        passes_on: Its arguments are those of another program.
    """

    module: str
    summary: str
    is_remote: bool = False
    passes_on: bool = False

    def command(self, name: str) -> Any:
        """It, imported."""
        found = getattr(self._imported(name), name)
        if isinstance(found, typer.Typer):
            return typer.main.get_command(found)
        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        alone.command(
            name,
            cls=_server_command() if self.is_remote else None,
            context_settings=PASS_ON if self.passes_on else None,
        )(found)
        return typer.main.get_command(alone)

    def _imported(self, name: str) -> ModuleType:
        try:
            return import_module(f"app.cli.{self.module}")
        except ModuleNotFoundError as error:
            if (ROOT / "requirements.txt").exists():
                raise
            raise StartupError(
                f"`sluice {name}` needs the server, and only the commands that use one are installed:"
                f" call `./sluice {name}` in the folder of Sluice."
            ) from error


def _server_command() -> type[TyperCommand]:
    from app.cli.remote.command import ServerCommand  # noqa: PLC0415  # It brings the client with it.

    return ServerCommand


class LazyGroup(TyperGroup):
    """A group with the commands of `entries`, which its subclass has by sections."""

    sections: ClassVar[Mapping[str, Mapping[str, Entry]]] = {}

    @property
    def entries(self) -> dict[str, Entry]:
        return {name: entry for section in self.sections.values() for name, entry in section.items()}

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  # As Typer asks.
        """Their names."""
        return list(self.entries)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002  # As Typer asks.
        """One of them, imported now; a remote one goes back to where it was called."""
        entry = self.entries.get(cmd_name)
        if entry is None:
            return None
        if entry.is_remote:
            return_to_caller()
        command = entry.command(cmd_name)
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # From now on, commands clear up.
        return command

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As any group; an option that stands before the command is told its place."""
        from typer._click.exceptions import NoSuchOption, UsageError  # noqa: PLC0415  # Only who mistypes.

        try:
            return super().parse_args(ctx, args)
        except NoSuchOption as error:
            option = error.option_name
            raise UsageError(
                f"No such option: {option}. Options go behind the command, as in `sluice status {option} …`.",
                ctx,
            ) from None

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002  # As Typer asks.
        """The list of them, with nothing imported."""
        for title, section in self.sections.items():
            with formatter.section(title):
                formatter.write_dl([(name, entry.summary) for name, entry in section.items()])

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Names and options that begin so, with nothing imported."""
        from typer._click.shell_completion import CompletionItem  # noqa: PLC0415  # Only shells ask.

        names = [
            CompletionItem(name, help=entry.summary)
            for name, entry in self.entries.items()
            if name.startswith(incomplete)
        ]
        return names or super(TyperGroup, self).shell_complete(ctx, incomplete)


def return_to_caller() -> None:
    """Go back to the folder that `./sluice` was called in: paths on the command line are meant from there.

    It was left for the folder of the program, where servers find their settings.
    """
    folder = os.environ.pop("SLUICE_CALLED_FROM", None)
    if folder is not None:
        with suppress(FileNotFoundError):  # It was deleted meanwhile.
            os.chdir(folder)


def from_caller(path: Path) -> Path:
    """An absolute path of one that is meant from where `./sluice` was called; for commands that stay here."""
    return Path(os.environ.get("SLUICE_CALLED_FROM", "")).absolute() / path
