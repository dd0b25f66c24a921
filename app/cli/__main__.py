"""All commands by name. A `StartupError` is told as one sentence, never as a traceback."""

from __future__ import annotations

import sys

import typer

from app.cli.chaos import chaos
from app.cli.demo import demo
from app.cli.down import down
from app.cli.migrate import migrate
from app.cli.quality import check, test
from app.cli.screenshots import screenshots
from app.cli.up import up
from app.errors import StartupError

cli = typer.Typer(
    name="sluice",
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
# Their arguments are their own: none of them is looked at here, not even --help.
PASS_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


@cli.callback()
def list_commands(context: typer.Context) -> None:
    """Sluice takes documents in at once and makes them searchable in the background."""
    if context.invoked_subcommand is None:
        print(context.get_help())


cli.command()(up)
cli.command()(down)
cli.command()(demo)
cli.command()(migrate)
cli.command(context_settings=PASS_ON)(test)
cli.command()(check)
cli.command(context_settings=PASS_ON)(chaos)
cli.command()(screenshots)


def main() -> None:
    """Run one command."""
    try:
        cli(prog_name="sluice")
    except StartupError as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
