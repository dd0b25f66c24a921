"""`sluice mcp`: a server's documents for agents, by the Model Context Protocol."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from app.cli.remote.command import Session
from app.errors import StartupError


def mcp(
    context: typer.Context,
    *,
    allow_writes: Annotated[
        bool, typer.Option("--allow-writes", help="Let agents take texts in, too; by default they only read.")
    ] = False,
) -> None:
    """Serve a server's documents to agents, by the Model Context Protocol.

    The agent starts this command, and talks to it over stdin and stdout.
    """
    session = Session.of(context)
    if sys.stdin.isatty():
        session.out.note(
            "This is for an agent to start (docs/agents.md), not for a terminal; Ctrl-D ends it."
        )
    asyncio.run(_serve(session, may_write=allow_writes))


async def _serve(session: Session, *, may_write: bool) -> None:
    try:
        # A second of imports, and not with every install.
        from app.cli.remote.agent_tools import agent_server  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise StartupError("`sluice mcp` needs the package mcp: `pip install 'mcp>=2.3'`.") from error
    async with session.async_sluice() as sluice:
        await agent_server(session, sluice, may_write=may_write).run_stdio_async()
