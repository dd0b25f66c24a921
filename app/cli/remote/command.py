"""What all commands for a server have in common: its address, the shape of what is printed, how they fail."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Annotated, Any

import typer
import typer.main
from typer.core import TyperCommand

from app.cli.remote.exits import exit_code_of
from app.cli.remote.output import Output, clean, leave_quietly
from app.client import AsyncSluice, Retries, Sluice, SluiceError
from app.client.settings import BadSettings, ClientSettings

#: A person who mistyped a URL wants to know at once.
PROMPT = Retries(wait_for_server=False)

#: For what takes its time anyway: a server that restarts in the middle is waited for, some 30 s.
PATIENT = Retries(tries=9, wait_for_server=False)


#: A shorter pause is not told: it is over before somebody wonders.
TOLD_FROM_S = 1.0

#: The same reason again is told so often.
TOLD_AGAIN_S = 60.0


class Waiting:
    """Tells a person that a server is asked again, and why, where nothing else would happen on the screen."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._told: dict[str, float] = {}  # When, by what was told.

    def __call__(self, error: SluiceError, pause_s: float) -> None:
        """As the client calls it before a pause."""
        reason = clean(error)
        if pause_s < TOLD_FROM_S or monotonic() - self._told.get(reason, -TOLD_AGAIN_S) < TOLD_AGAIN_S:
            return
        self._told[reason] = monotonic()
        self._out.note(f"The server is not ready, and is asked again: {reason}", style="yellow")


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

    def sluice(self, retries: Retries = PROMPT) -> Sluice:
        """The client, for threads."""
        return Sluice(self.url, api_key=self.api_key, retries=retries, on_pause=Waiting(self.out))

    def async_sluice(self, retries: Retries = PROMPT) -> AsyncSluice:
        """The client, for asyncio."""
        return AsyncSluice(self.url, api_key=self.api_key, retries=retries, on_pause=Waiting(self.out))

    def tell(self, error: SluiceError) -> None:
        """One sentence and the next step, or the same as JSON."""
        if self.out.as_json:
            self.out.json_line({"error": error_as_json(error)})
            return
        self.out.note(sentence(error))


def require_collections(sluice: Sluice, *names: str | None) -> None:
    """To be called when nothing was found in them, which a name that was mistyped looks like.

    Raises:
        CollectionNotFound: There is none of this name.
    """
    for name in filter(None, names):
        sluice.collection(name)


def secrets_of(url: str | None, api_key: str | None) -> list[str]:
    """What must not be printed: the key, and the password that a URL may hold, wherever they are from."""
    try:
        settings = ClientSettings.load(url, api_key)
        url, api_key = settings.url, settings.api_key
    except BadSettings:
        pass  # What is wrong with it will be told, without what was given.
    password = re.search(r"//[^/@]*:([^/@]+)@", url or "")
    return [secret for secret in (api_key, password and password[1]) if secret]


def error_as_json(error: SluiceError) -> dict[str, Any]:
    """An error as the API has it in its answers."""
    return {"code": error.code, "message": str(error), "retryable": error.retryable, "hint": error.hint}


def sentence(error: SluiceError) -> str:
    """What happened, and what to do about it."""
    places = "; ".join(
        f"{each.get('pointer', '')} {each.get('detail', '')}".strip()
        for each in error.errors
        if str(each.get("detail", "")) not in str(error)
    )
    told = f"{error} ({places})" if places else str(error)
    stop = "" if told.endswith((".", "!", "?", ":")) else "."
    return clean(f"{told}{stop} {error.hint}")


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

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As any command; a word that looks like an option is told how to be none."""
        from typer._click.exceptions import NoSuchOption, UsageError  # noqa: PLC0415  # Only who mistypes.

        said = [*args]
        try:
            return super().parse_args(ctx, args)
        except NoSuchOption as error:
            takes_words = any(each.param_type_name == "argument" for each in self.params)
            word = next((word for word in said if word.startswith(error.option_name)), "")
            if word.startswith("--") or len(word) <= len("-x") or not takes_words:
                raise
            raise UsageError(
                f"{error.format_message()}. A word that begins with a dash goes behind --, after all options:"
                f" `{ctx.command_path} -- {shlex.quote(word)}`.",
                ctx,
            ) from None

    def invoke(self, ctx: Any) -> Any:
        """Run it; what it raises becomes a sentence and an exit code."""
        said = {name: ctx.params.pop(name) for name in ("url", "api_key", "as_json", "no_color")}
        secrets = secrets_of(said["url"], said["api_key"])
        out = Output(as_json=said["as_json"], no_color=said["no_color"], secrets=secrets)
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
    if not isinstance(error, SluiceError):
        return None
    session.tell(error)
    return exit_code_of(error)
