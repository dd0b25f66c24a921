"""Changing what a document is called, whoever else is at it; and the tags that tell how it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import product
from unittest.mock import MagicMock, patch
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest

from app.core.config import Settings
from app.core.database import connect
from app.errors import EmbedderUnavailable, NoText
from app.jobs.ingestion_job import process_ingestion
from app.models.document import Document
from app.models.merge_patch import merged
from app.models.reach import EVERYTHING
from app.models.sql import transaction
from app.schemas.ingest import check_metadata
from tests.support import indexed, indexing

TEXT = "The upper gate opens at six in the morning."
MERGE_PATCH = {"content-type": "application/merge-patch+json"}
PATCH = {"title": "Patched", "metadata": {"patched": True}}


@pytest.fixture(autouse=True)
def send() -> Iterator[MagicMock]:
    with patch.object(process_ingestion, "send") as send:
        yield send


@pytest.fixture
async def other(settings: Settings, migrated: None) -> AsyncIterator[asyncpg.Connection]:
    """Another connection, for those who are in the way."""
    connection = await connect(settings)
    yield connection
    await connection.close()


async def posted(client: httpx.AsyncClient, text: str = TEXT, **fields: object) -> str:
    answer = await client.post("/ingest", json={"text": text, **fields})
    assert answer.status_code == 201, answer.text
    return str(answer.headers["location"])


def id_of(location: str) -> UUID:
    return UUID(location.rpartition("/")[2])


async def claimed(location: str) -> Document:
    document = await Document.claim(id_of(location), owner="w", lease_s=30)
    assert document is not None
    return document


async def cited(client: httpx.AsyncClient) -> tuple[str | None, dict[str, object]]:
    (hit,) = (await client.post("/search", json={"query": "gate"})).json()["hits"]
    return hit["citation"]["title"], hit["metadata"]


async def until_somebody_waits(other: asyncpg.Connection) -> None:
    """For a lock that is not to be had."""
    while not await other.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("target", "change", "result"),
    [  # The examples of RFC 7396, as far as both sides are objects.
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        (["a"], {"a": "b"}, {"a": "b"}),
    ],
)
def test_a_merge_patch_is_that_of_the_rfc(
    target: object, change: dict[str, object], result: dict[str, object]
) -> None:
    assert merged(target, change) == result


@pytest.mark.parametrize("headers", [MERGE_PATCH, {"content-type": "application/json"}])
@pytest.mark.parametrize(
    ("change", "title", "metadata"),
    [
        ({}, "Gates", {"a": 1, "b": {"c": 2, "d": 3}}),
        ({"title": "  Gate \u202e times "}, "Gate  times", {"a": 1, "b": {"c": 2, "d": 3}}),
        ({"title": None}, None, {"a": 1, "b": {"c": 2, "d": 3}}),
        ({"metadata": {"a": None, "b": {"c": None, "e": [1]}}}, "Gates", {"b": {"d": 3, "e": [1]}}),
        ({"metadata": None}, "Gates", {}),
    ],
)
async def test_what_is_named_is_changed_and_the_rest_stays(
    client: httpx.AsyncClient,
    headers: dict[str, str],
    change: dict[str, object],
    title: str | None,
    metadata: dict[str, object],
) -> None:
    location = await posted(client, title="Gates", metadata={"a": 1, "b": {"c": 2, "d": 3}})
    before = (await client.get(location)).json()

    answer = await client.patch(location, json=change, headers=headers)

    assert answer.status_code == 200, answer.text
    assert (answer.json()["title"], answer.json()["metadata"]) == (title, metadata)
    after = await client.get(location)
    assert (after.json(), after.headers["etag"]) == (answer.json(), answer.headers["etag"])
    assert (after.json()["updated_at"] == before["updated_at"]) == (change == {})


@pytest.mark.parametrize(
    "change",
    [
        {"titel": "x"},
        {"title": 7},
        {"title": "x" * 2001},
        {"title": "a\x00b"},
        {"metadata": []},
        {"metadata": {"k": "\x00"}},
        {"metadata": {"k": "v" * 20_000}},
        {"metadata": {str(n): n for n in range(490)}},
        {"status": "COMPLETED"},
        [],
    ],
)
async def test_a_bad_patch_changes_nothing(client: httpx.AsyncClient, change: object) -> None:
    location = await posted(client, metadata={f"m{n}": n for n in range(20)})
    await indexed(id_of(location), TEXT)
    before = (await client.get(location)).json()

    answer = await client.patch(location, json=change)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert (await client.get(location)).json() == before


@pytest.mark.parametrize("status", ["PENDING", "PROCESSING", "COMPLETED", "FAILED"])
async def test_a_patch_holds_in_any_status_and_changes_no_other_field(
    client: httpx.AsyncClient, status: str
) -> None:
    location = await posted(client)
    if status != "PENDING":
        held = await claimed(location)
        if status == "COMPLETED":
            await held.complete(indexing(TEXT))
        if status == "FAILED":
            await held.fail(NoText())
    before = (await client.get(location)).json()

    after = (await client.patch(location, json=PATCH)).json()

    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"title", "metadata", "updated_at"}
    assert after["status"] == status


STEPS = ["claim", "complete", "update", "claim again", "complete again"]


@pytest.mark.parametrize(("patched_at", "named"), list(product(range(6), [False, True])))
async def test_a_patch_is_lost_by_no_step_of_a_document_s_life(
    client: httpx.AsyncClient, patched_at: int, *, named: bool
) -> None:
    """Whenever it comes; only an update that has a title and metadata of its own replaces it."""
    own: dict[str, object] = {"title": "Own", "metadata": {"own": True}} if named else {}
    location = await posted(client, external_id="gates")
    held: Document | None = None
    is_indexed = False
    for position, step in enumerate([*STEPS, None]):
        if position == patched_at:
            assert (await client.patch(location, json=PATCH)).status_code == 200
            if is_indexed:
                title, metadata = await cited(client)
                assert (title, metadata["patched"]) == ("Patched", True)
        if step == "update":
            await posted(client, TEXT + " Sundays at seven.", external_id="gates", **own)
        elif step in {"claim", "claim again"}:
            held = await claimed(location)
        elif step is not None:
            assert held is not None
            assert await held.complete(indexing(TEXT))
            is_indexed = True

    document = (await client.get(location)).json()
    is_replaced = named and patched_at <= STEPS.index("update")
    expected = {"own": True} if is_replaced else {"patched": True} | ({"own": True} if named else {})
    assert (document["title"], document["metadata"]) == ("Own" if is_replaced else "Patched", expected)
    assert (document["status"], document["version"]) == ("COMPLETED", 2)
    assert await cited(client) == (document["title"], document["metadata"])


async def test_a_patch_during_an_update_concerns_both_versions(client: httpx.AsyncClient) -> None:
    location = await posted(client, external_id="gates", title="One", metadata={"v": 1, "draft": True})
    await indexed(id_of(location), TEXT)
    await posted(client, TEXT + " More.", external_id="gates", title="Two", metadata={"v": 2, "draft": True})

    await client.patch(location, json={"metadata": {"draft": None, "seen": True}})

    assert await cited(client) == ("One", {"v": 1, "seen": True})
    await indexed(id_of(location), TEXT + " More.")
    assert await cited(client) == ("Two", {"v": 2, "seen": True})


async def test_a_title_that_is_removed_comes_from_the_next_version_again(client: httpx.AsyncClient) -> None:
    location = await posted(client, external_id="gates")
    await client.patch(location, json=PATCH)
    await client.patch(location, json={"title": None, "metadata": None})
    held = await claimed(location)
    await held.complete(indexing(TEXT, title="In the file"))

    assert await cited(client) == ("In the file", {})


async def test_a_patch_that_finds_its_document_being_completed_comes_after_it(
    client: httpx.AsyncClient, other: asyncpg.Connection
) -> None:
    location = await posted(client)
    held = await claimed(location)
    async with other.transaction():
        await other.execute("LOCK TABLE chunks IN SHARE MODE")  # The worker waits here, with the row locked.
        completing = asyncio.create_task(held.complete(indexing(TEXT, title="In the file")))
        await until_somebody_waits(other)
        patching = asyncio.create_task(client.patch(location, json=PATCH))
        while await other.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted") < 2:
            await asyncio.sleep(0.01)

    assert await completing
    answer = (await patching).json()
    assert (answer["status"], answer["title"]) == ("COMPLETED", "Patched")
    assert await cited(client) == ("Patched", {"patched": True})


@pytest.mark.parametrize("rival", ["complete", "update"])
async def test_who_finds_the_document_being_patched_sees_the_patch(
    client: httpx.AsyncClient, other: asyncpg.Connection, rival: str
) -> None:
    location = await posted(client, external_id="gates")
    held = await claimed(location)

    async def rivalling() -> None:
        if rival == "complete":
            assert await held.complete(indexing(TEXT, title="In the file"))
        else:
            await posted(client, TEXT + " More.", external_id="gates")

    outside = asyncio.Event()

    async def patching() -> None:
        async with transaction():
            document = await Document.locked(id_of(location), EVERYTHING)
            assert document is not None
            await document.amend(PATCH, check=check_metadata)
            outside.set()
            await until_somebody_waits(other)

    patched = asyncio.create_task(patching())
    await outside.wait()
    await rivalling()
    await patched

    if rival == "update":
        await indexed(id_of(location), TEXT)
    assert await cited(client) == ("Patched", {"patched": True})


async def test_of_many_patches_at_once_none_is_lost(client: httpx.AsyncClient) -> None:
    location = await posted(client)
    await indexed(id_of(location), TEXT)

    answers = await asyncio.gather(
        *(client.patch(location, json={"metadata": {str(n): n}}) for n in range(20))
    )

    assert {answer.status_code for answer in answers} == {200}
    everything = {str(n): n for n in range(20)}
    assert (await client.get(location)).json()["metadata"] == everything
    assert await cited(client) == (None, everything)


async def test_of_many_who_have_seen_the_same_one_changes_it(client: httpx.AsyncClient) -> None:
    location = await posted(client)
    etag = (await client.get(location)).headers["etag"]

    answers = await asyncio.gather(
        *(client.patch(location, json={"title": str(n)}, headers={"if-match": etag}) for n in range(10))
    )

    assert sorted(answer.status_code for answer in answers) == [200, *[412] * 9]
    refused = next(answer for answer in answers if answer.status_code == 412)
    assert refused.json()["code"] == "precondition_failed"


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
@pytest.mark.parametrize(
    ("told", "is_right"),
    [
        ("{}", True),
        ("*", True),
        ('"x", {}', True),
        ("W/{}", False),
        ('"x"', False),
        ("x", False),
        ("", False),
    ],
)
async def test_a_change_is_made_only_to_what_it_was_meant_for(
    client: httpx.AsyncClient, method: str, told: str, *, is_right: bool
) -> None:
    location = await posted(client)
    etag = (await client.get(location)).headers["etag"]
    body = {"json": PATCH} if method == "PATCH" else {}

    answer = await client.request(method, location, headers={"if-match": told.format(etag)}, **body)  # type: ignore[arg-type]

    assert answer.is_success == is_right
    assert is_right or (answer.status_code, answer.json()["code"]) == (412, "precondition_failed")
    present = await client.get(location)
    assert (present.status_code == 404) == (is_right and method == "DELETE")
    assert is_right or present.headers["etag"] == etag


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
@pytest.mark.parametrize("headers", [{}, {"if-match": '"x"'}])
async def test_what_is_not_there_is_a_404_whatever_it_should_match(
    client: httpx.AsyncClient, method: str, headers: dict[str, str]
) -> None:
    body = {"json": PATCH} if method == "PATCH" else {}
    answer = await client.request(method, f"/documents/{uuid4()}", headers=headers, **body)  # type: ignore[arg-type]

    assert (answer.status_code, answer.json()["code"]) == (404, "document_not_found")


async def test_the_tag_changes_with_every_move_and_tells_who_has_seen_it(
    client: httpx.AsyncClient, other: asyncpg.Connection
) -> None:
    location = await posted(client, external_id="gates")
    seen: list[str] = []

    async def look() -> None:
        answer = await client.get(location, headers={"if-none-match": ", ".join(seen)} if seen else {})
        assert answer.status_code == 200, "the answer changed, so the tag must have"
        seen.append(answer.headers["etag"])
        again = await client.get(location, headers={"if-none-match": seen[-1]})
        assert (again.status_code, again.content) == (304, b"")

    await look()
    held = await claimed(location)
    await look()
    held.progress_unit, held.progress_total = "chunks", 2
    for done in (1, 2):
        held.progress_done = done
        await Document.beat(other, [held], lease_s=30)
        await look()
    await held.release(EmbedderUnavailable("away"), backoff_s=0)
    await look()
    held = await claimed(location)
    await held.hand_back()
    await look()
    held = await claimed(location)
    await held.complete(indexing(TEXT))
    await look()
    await posted(client, TEXT + " More.", external_id="gates")
    await look()
    await client.post(f"{location}/cancel")
    await look()
    await client.post(f"{location}/retry")
    await look()

    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize("call", ["retry", "cancel"])
async def test_steering_answers_with_the_tag_that_a_look_would_have(
    client: httpx.AsyncClient, call: str
) -> None:
    location = await posted(client)

    answer = await client.post(f"{location}/{call}")

    assert answer.headers["etag"] == (await client.get(location)).headers["etag"]


async def test_waiting_for_what_one_has_ends_with_304(client: httpx.AsyncClient) -> None:
    location = await posted(client)
    etag = (await client.get(location)).headers["etag"]

    answer = await client.get(location, params={"wait": 0.05}, headers={"if-none-match": etag})

    assert answer.status_code == 304
