"""Faults of the surroundings, made by real servers and a real kernel: never a 500, and nothing half-kept."""

from __future__ import annotations

import resource
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from tortoise import connections

from app.core.config import Settings
from app.core.database import SURROUNDINGS, connect, migrate
from app.embedded import EmbeddedPostgres
from app.main import create_app
from app.models.document import Document
from tests.processes import APIProcess, api_process
from tests.support import emptied_database

MEBIBYTE = 1024 * 1024
CONNECTIONS = 5
TEXT = "The upper gate opens at six in the morning."


@pytest.fixture
async def app(settings: Settings, migrated: None, tmp_path: Path) -> AsyncIterator[FastAPI]:
    app = create_app(settings.model_copy(update={"STORAGE_URL": f"file://{tmp_path}"}))
    async with app.router.lifespan_context(app):
        await emptied_database()
        yield app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://sluice") as client:
        yield client


@pytest.fixture
async def owner(settings: Settings, migrated: None) -> AsyncIterator[asyncpg.Connection]:
    connection = await connect(settings)
    yield connection
    await connection.close()


@pytest.mark.parametrize(
    ("sqlstate", "status", "code"),
    [
        ("53100", 507, "database_full"),
        ("53000", 503, "database_busy"),
        ("53200", 503, "database_busy"),
        ("53300", 503, "database_busy"),
        ("53400", 503, "database_busy"),
        ("40001", 503, "database_busy"),
        ("40P01", 503, "database_busy"),
        ("55P03", 503, "database_busy"),
        ("55006", 503, "database_busy"),
        ("57014", 503, "database_busy"),
        ("25P03", 503, "database_unavailable"),
        ("25P04", 503, "database_busy"),
        ("57P01", 503, "database_unavailable"),
        ("57P02", 503, "database_unavailable"),
        ("57P03", 503, "database_unavailable"),
        ("57P05", 503, "database_unavailable"),
        ("25006", 503, "database_unavailable"),
        ("28P01", 503, "database_unavailable"),
        ("3D000", 503, "database_unavailable"),
        ("42501", 503, "database_unavailable"),
        ("58000", 503, "database_unavailable"),
        ("58030", 503, "database_unavailable"),
        ("08006", 503, "database_unavailable"),
        ("XX001", 503, "database_unavailable"),
        ("XX002", 503, "database_unavailable"),
        ("42703", 500, "internal_error"),  # A mistake of ours stays one.
        ("22003", 500, "internal_error"),
        ("XX000", 500, "internal_error"),
    ],
)
async def test_what_postgresql_answers_is_told_for_what_it_is(
    client: httpx.AsyncClient, owner: asyncpg.Connection, sqlstate: str, status: int, code: str
) -> None:
    await owner.execute(
        f"""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN RAISE EXCEPTION 'out of luck' USING ERRCODE = '{sqlstate}'; END $$;
        CREATE TRIGGER refuse BEFORE INSERT OR UPDATE OR DELETE ON documents EXECUTE FUNCTION refuse();
        """
    )
    try:
        answers = [
            await client.post("/ingest", json={"text": TEXT}),
            await client.post("/ingest", files={"file": ("large.txt", TEXT.encode() * 5000)}),
            await client.delete("/documents/0199c0de-7a11-7c4e-8a55-0242ac120002"),
        ]
    finally:
        await owner.execute("DROP TRIGGER refuse ON documents; DROP FUNCTION refuse()")

    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
        assert ("retry-after" in answer.headers) == answer.json()["retryable"] == (status != 500)
        assert "out of luck" not in answer.text
    assert await Document.all().count() == 0


def test_every_code_in_the_table_is_one_of_postgresql_s() -> None:
    known = {
        kind.sqlstate
        for kind in vars(asyncpg.exceptions).values()
        if isinstance(kind, type) and getattr(kind, "sqlstate", None)
    }
    for code in SURROUNDINGS:
        assert any(str(state).startswith(code) for state in known), code


async def test_a_server_with_no_connection_left_is_busy_not_broken(
    settings: Settings, tmp_path: Path
) -> None:
    few = {
        "fsync": "off",
        "max_connections": str(CONNECTIONS),
        "superuser_reserved_connections": "0",
        "max_wal_senders": "0",
    }
    with EmbeddedPostgres(tmp_path / "postgres", settings=few) as postgres:
        here = settings.model_copy(update={"DATABASE_URL": postgres.url})
        await migrate(here)
        app = create_app(here)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://sluice") as client,
        ):
            # The application's own pool has one connection open, and would open more.
            others = [await connect(here) for _ in range(CONNECTIONS - 1)]
            async with connections.get("default").acquire_connection():
                answer = await client.post("/ingest", json={"text": TEXT})
                ready = await client.get("/readyz")
            for other in others:
                await other.close()
            afterwards = await client.post("/ingest", json={"text": TEXT})

    for refused in (answer, ready):
        assert (refused.status_code, refused.json()["code"]) == (503, "database_busy")
    assert afterwards.status_code == 201


async def test_a_server_that_is_read_only_is_not_ready_and_takes_nothing(client: httpx.AsyncClient) -> None:
    """As a standby is, and a primary that is being moved. The pool has one connection, which stays so."""
    session = connections.get("default")
    await session.execute_script("SET default_transaction_read_only = on")
    ready = await client.get("/readyz")
    answer = await client.post("/ingest", json={"text": TEXT})
    await session.execute_script("SET default_transaction_read_only = off")

    for refused in (ready, answer):
        assert (refused.status_code, refused.json()["code"]) == (503, "database_unavailable")
    assert (await client.get("/readyz")).is_success


@pytest.fixture
def limited(migrated: None, tmp_path: Path) -> Iterator[APIProcess]:
    """An API process on folders of its own."""
    for folder in ("content", "spool"):
        (tmp_path / folder).mkdir()
    environment = {"STORAGE_URL": f"file://{tmp_path / 'content'}", "TMPDIR": str(tmp_path / "spool")}
    with api_process(environment, tmp_path / "log") as api:
        yield api


@pytest.mark.parametrize(
    ("limit_bytes", "size_bytes"),
    [(512 * 1024, 800 * 1024), (2 * MEBIBYTE, 4 * MEBIBYTE)],
    ids=["store", "spool"],
)
@pytest.mark.parametrize("kind", ["file", "json"])
def test_a_disk_that_refuses_is_a_507_and_leaves_nothing(
    limited: APIProcess, tmp_path: Path, limit_bytes: int, size_bytes: int, *, kind: str
) -> None:
    """The kernel refuses to let a file grow, which to a program looks like a full disk."""
    url = f"{limited.url}/ingest"
    text = (TEXT * (size_bytes // len(TEXT) + 1))[:size_bytes]

    def post() -> httpx.Response:
        if kind == "file":
            return httpx.post(url, files={"file": ("a.txt", text.encode())}, trust_env=False)
        return httpx.post(url, json={"text": text}, trust_env=False)

    def counted() -> int:
        listed = httpx.get(f"{limited.url}/documents", params={"limit": 500}, trust_env=False).json()
        return sum(document["size_bytes"] == size_bytes for document in listed["documents"])

    before = counted()
    _, hard = resource.prlimit(limited.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(limited.process.pid, resource.RLIMIT_FSIZE, (limit_bytes, hard))
    answer = post()
    resource.prlimit(limited.process.pid, resource.RLIMIT_FSIZE, (hard, hard))

    assert (answer.status_code, answer.json()["code"]) == (507, "storage_full"), answer.text
    assert "retry-after" in answer.headers
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "log"]
    assert counted() == before

    afterwards = post()
    assert afterwards.status_code == 201, afterwards.text
    httpx.delete(limited.url + afterwards.headers["location"], trust_env=False)


def test_no_descriptor_left_is_a_503(limited: APIProcess) -> None:
    pid = limited.process.pid
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    with httpx.Client(base_url=limited.url, trust_env=False) as client:
        assert client.get("/readyz").is_success
        used = max(int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()) + 1
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (used, limits[1]))
        answer = client.post("/ingest", files={"file": ("a.txt", TEXT.encode() * 100_000)})
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)

        assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
        assert "Too many open files" in answer.text
