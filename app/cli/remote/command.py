"""What all commands for a server have in common: its address, the shape of what is printed, how they fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer
import typer.main
from typer.core import TyperCommand

from app.cli.remote.output import Output, clean, leave_quietly

if TYPE_CHECKING:
    from app.client import AsyncSluice, Retries, Sluice, SluiceError

# The client is imported when a server is asked: `--help` and usage errors do without.


@dataclass(frozen=True)
class Session:
    """A server and a person."""

    out: Output
    url: str | None = None
    api_key: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, context: typer.Context) -> Session:
        """The one that the command was called with."""
        assert isinstance(context.obj, cls)
        return context.obj

    def sluice(self, retries: Retries | None = None) -> Sluice:
        """The client, for threads."""
        from app.client import Sluice  # noqa: PLC0415  # As above.

        return Sluice(self.url, api_key=self.api_key, retries=retries or _retries())

    def async_sluice(self) -> AsyncSluice:
        """The client, for asyncio."""
        from app.client import AsyncSluice  # noqa: PLC0415  # As above.

        return AsyncSluice(self.url, api_key=self.api_key, retries=_retries())

    def tell(self, error: SluiceError) -> None:
        """One sentence and the next step, or the same as JSON."""
        if self.out.as_json:
            self.out.json_line({"error": error_as_json(error)})
            return
        self.out.note(self.without_secrets(sentence(error)))

    def without_secrets(self, text: str) -> str:
        """The text, with neither the key nor a password that the URL holds."""
        for secret in self._secrets():
            text = text.replace(secret, "…")
        return text

    def _secrets(self) -> list[str]:
        from app.client import SluiceError  # noqa: PLC0415  # As above.
        from app.client.settings import ClientSettings  # noqa: PLC0415  # As above.

        try:
            settings = ClientSettings.load(self.url, self.api_key)
            found = [settings.api_key, urlsplit(settings.url).password]
        except SluiceError:  # It is this that has to be told.
            found = [self.api_key]
        return [secret for secret in found if secret]


def _retries() -> Retries:
    from app.client import Retries  # noqa: PLC0415  # As above.

    # A person who mistyped a URL wants to know at once.
    return Retries(wait_for_server=False)


def error_as_json(error: SluiceError) -> dict[str, Any]:
    """An error as the API has it in its answers."""
    return {"code": error.code, "message": str(error), "retryable": error.retryable, "hint": error.hint}


def sentence(error: SluiceError) -> str:
    """What happened, and what to do about it."""
    places = "; ".join(f"{each.get('pointer', '')} {each.get('detail', '')}".strip() for each in error.errors)
    told = f"{error} ({places})" if places and places not in str(error) else str(error)
    return clean(f"{told} {error.hint}")


def server_options(
    *,
    url: Annotated[
        str | None,
        typer.Option(
            help="The server; else SLUICE_URL, else `url` in ~/.config/sluice/config.toml, else this machine."
        ),
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(help="Else SLUICE_API_KEY, which no list of processes shows, or `api_key` there."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    no_color: Annotated[
        bool, typer.Option("--no-color", help="Print no colours; NO_COLOR says so for all programs.")
    ] = False,
) -> None:
    """What every command for a server can be told; declared like a command, to be added to all of them."""


def _options_of(declaration: Callable[..., None]) -> list[Any]:
    alone = typer.Typer(add_completion=False)
    alone.command()(declaration)
    return typer.main.get_command(alone).params


class ServerCommand(TyperCommand):
    """A command for a server: has `server_options`, gets a `Session`, and fails in one sentence."""

    def __init__(self, name: str | None, **attributes: Any) -> None:
        attributes["params"] = [*(attributes.get("params") or []), *_options_of(server_options)]
        super().__init__(name, **attributes)

    def invoke(self, ctx: Any) -> Any:
        """Run it; what it raises becomes a sentence and an exit code."""
        said = {name: ctx.params.pop(name) for name in ("url", "api_key", "as_json", "no_color")}
        out = Output(as_json=said["as_json"], no_color=said["no_color"])
        session = ctx.obj = Session(out, said["url"], said["api_key"])
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            leave_quietly()
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        except Exception as error:
            code = _told(error, session)
            if code is None:
                raise
            raise typer.Exit(code) from None


def _told(error: Exception, session: Session) -> int | None:
    """The exit code of an error that was told; None for one that is not the client's."""
    from app.cli.remote.exits import exit_code_of  # noqa: PLC0415  # As above.
    from app.client import SluiceError  # noqa: PLC0415  # As above.

    if not isinstance(error, SluiceError):
        return None
    session.tell(error)
    return exit_code_of(error)
