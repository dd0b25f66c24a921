"""An agent with a server's documents: the tools of `sluice mcp`, as its client calls them."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mcp import Client, StdioServerParameters

from app.cli.remote.agent_tools import agent_server
from app.cli.remote.command import Session
from app.cli.remote.output import Output
from app.client import Sluice
from app.core.queue import broker
from tests.processes import ROOT, APIProcess, api_process, worker_process

TEXT = "The upper gate opens at six. The lower gate has no keeper.\n"


@pytest.fixture(scope="module")
def api(migrated: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[APIProcess]:
    """A server with a worker, and a document in it."""
    folder = tmp_path_factory.mktemp("api")
    settings = {"STORAGE_URL": f"file://{folder / 'content'}"}
    with (
        api_process(settings, folder / "log") as process,
        worker_process(settings, folder / "worker.log", "--processes", "1", "--threads", "4"),
    ):
        with Sluice(process.url) as sluice:
            taken = sluice.ingest(TEXT, title="Gates", collection="agents", external_id="gates")
            sluice.wait(taken.document_id, timeout_s=30)
        yield process
    broker.flush_all()


@asynccontextmanager
async def agent(url: str, *, may_write: bool = False, secret: str = "") -> AsyncIterator[Client]:
    """With the tools in this process: a start of Python takes longer than what they do."""
    session = Session(Output(secrets=[secret] if secret else []), url)
    async with (
        session.async_sluice() as sluice,
        Client(agent_server(session, sluice, may_write=may_write)) as client,
    ):
        yield client


async def called(client: Client, tool: str, **arguments: Any) -> Any:
    """What a tool answers, which has to be no error."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    assert result.structured_content is not None
    return result.structured_content.get("result", result.structured_content)


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    """What a tool says of a call that cannot be."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    return str(result.content[0].text)  # type: ignore[union-attr]


async def test_a_passage_says_where_it_stands_and_can_be_read_on_from_there(api: APIProcess) -> None:
    async with agent(api.url) as client:
        (passage,) = await called(client, "search", query="the upper gate", collections=["agents"])
        assert (passage["title"], passage["external_id"]) == ("Gates", "gates")

        place = {"document_id": passage["document_id"], "char_start": passage["char_start"]}
        part = await called(client, "read", **place, chars=passage["char_end"] - passage["char_start"])
        assert part["text"] == passage["text"]
        assert part["total_chars"] >= passage["char_end"]

        beyond = await called(client, "read", document_id=passage["document_id"], char_start=100_000)
        assert (beyond["text"], beyond["char_start"]) == ("", part["total_chars"])


async def test_an_agent_sees_what_there_is(api: APIProcess) -> None:
    async with agent(api.url) as client:
        (shelf,) = [each for each in await called(client, "list_collections") if each["name"] == "agents"]
        assert shelf["documents"]["COMPLETED"] == 1
        (listed,) = await called(client, "list_documents", collection="agents", name_has="gat")
        assert await called(client, "document", document_id=listed["document_id"]) == listed
        assert await called(client, "list_documents", collection="agents", status="FAILED") == []


async def test_what_goes_wrong_is_told_with_what_to_do_about_it(api: APIProcess) -> None:
    unknown = "01a21adb-2cb0-73c4-8df8-771c2112cf93"
    async with agent(api.url) as client:
        assert "no collection 'agent'" in await refused(client, "search", query="gate", collections=["agent"])
        assert unknown in await refused(client, "read", document_id=unknown)
        with Sluice(api.url) as sluice:
            damaged = sluice.ingest(content=b"%PDF-1.4\nwhat is left of it\n", name="cut.pdf")
            sluice.wait(damaged.document_id, timeout_s=30)
        told = await refused(client, "read", document_id=str(damaged.document_id))
        assert "it is FAILED. `document` tells" in told


async def test_what_a_tool_does_not_understand_is_refused_in_words(api: APIProcess) -> None:
    async with agent(api.url) as client:
        told = await refused(client, "search", query="gate", collection="agents")
        assert "no argument collection. Perhaps collections is meant." in told
        assert "It takes none" in await refused(client, "list_collections", prefix="a")
        told = await refused(client, "search", query="gate", collections="agents", top_k=500)
        assert "collections: should be a valid list; top_k: should be less than or equal to 50." in told
        assert "query: Field required" in await refused(client, "search")
        schemas = [tool.input_schema for tool in (await client.list_tools()).tools]
        assert all(schema["additionalProperties"] is False for schema in schemas)


async def test_a_server_that_is_away_is_told_without_the_secrets() -> None:
    async with agent("http://me:quite-secret-word@127.0.0.1:1", secret="quite-secret-word") as client:
        told = await refused(client, "search", query="gate")
    assert "sluice up" in told
    assert "quite-secret-word" not in told


async def test_without_leave_an_agent_only_reads(api: APIProcess) -> None:
    async with agent(api.url) as client:
        tools = (await client.list_tools()).tools
        assert all(tool.annotations and tool.annotations.read_only_hint for tool in tools)
        assert "Unknown tool" in await refused(client, "ingest", text="Let me in.")


async def test_the_command_lets_an_agent_take_texts_in_where_it_may(api: APIProcess) -> None:
    words = ["-m", "app.cli", "mcp", "--allow-writes", "--url", api.url]
    async with Client(StdioServerParameters(command=sys.executable, args=words, cwd=ROOT)) as client:
        text = {"text": "The weir was mended in May.", "title": "Weir", "collection": "notes"}
        taken = await called(client, "ingest", **text)
        assert taken["status"] == "COMPLETED"
        assert (await called(client, "ingest", **text))["document_id"] == taken["document_id"]
        (passage,) = await called(client, "search", query="weir", collections=["notes"])
        assert passage["document_id"] == taken["document_id"]
