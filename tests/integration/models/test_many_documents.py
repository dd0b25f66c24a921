"""Lists of a hundred thousand documents: every filter finds its way without reading them all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from app.core.config import Settings
from app.core.database import connect
from app.models.document_status import DocumentStatus
from app.models.listing import DocumentFilter, Place, statement
from app.models.reach import EVERYTHING, Reach

DOCUMENTS = 100_000
BATCH = UUID(int=1)
NOW = datetime.now(UTC)

FILL = f"""
    INSERT INTO collections (name) VALUES ('rare'), ('usual') ON CONFLICT DO NOTHING;
    INSERT INTO documents (id, collection, external_id, title, source_name, media_type, sha256, size_bytes,
                           status, stage, completed_at, error, created_at)
    SELECT gen_random_uuid(), CASE WHEN n % 1000 = 0 THEN 'rare' ELSE 'usual' END,
        CASE WHEN n % 3 = 0 THEN 'docs/' || n % 97 || '/' || n || '.txt' END,
        'Gate times of lock number ' || n, 'gates-' || n || '.txt',
        CASE WHEN n % 500 = 0 THEN 'application/pdf' ELSE 'text/plain' END, md5(n::text), 1000, status,
        CASE WHEN status = 'PENDING' THEN 'queued' END, CASE WHEN status = 'COMPLETED' THEN now() END,
        CASE WHEN status = 'FAILED' THEN jsonb_build_object('code', CASE n % 7 WHEN 0 THEN 'no_text' END) END,
        now() - n * interval '1 minute'
    FROM (
        SELECT n, CASE WHEN n % 50 = 0 THEN 'FAILED' WHEN n % 333 = 0 THEN 'PENDING' ELSE 'COMPLETED' END
            AS status
        FROM generate_series(1, {DOCUMENTS}) AS n
    ) AS numbered;
    INSERT INTO batches (id) VALUES ('{BATCH}');
    INSERT INTO batch_items (batch_id, index, document_id, created)
    SELECT '{BATCH}', row_number() OVER (), id, TRUE FROM documents ORDER BY created_at LIMIT 1000;
"""

#: Each finds a few of them.
RARE: dict[str, Any] = {
    "statuses": [DocumentStatus.PENDING, DocumentStatus.PROCESSING],
    "collection": "rare",
    "external_id": "docs/3/100.txt",
    "external_id_prefix": "docs/13/",
    "media_type": "application/pdf",
    "created_after": NOW - timedelta(hours=3),
    "created_before": NOW - timedelta(minutes=DOCUMENTS - 100),
    "error_code": "no_text",
    "batch_id": BATCH,
}
#: Each finds a good part of them.
USUAL: dict[str, Any] = {
    "statuses": [DocumentStatus.COMPLETED],
    "collection": "usual",
    "external_id_prefix": "docs/",
    "media_type": "text/plain",
    "created_before": NOW - timedelta(days=30),
    "created_after": NOW - timedelta(days=60),
}


class Table:
    """The rows, and what a query costs there."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def run(self, *queries: str) -> None:
        async def run() -> None:
            connection = await connect(self.settings)
            for query in queries:
                await connection.execute(query, timeout=300)
            await connection.close()

        asyncio.run(run())

    def plan(self, chosen: DocumentFilter, after: Place | None, reach: Reach = EVERYTHING) -> dict[str, Any]:
        async def plan() -> str:
            connection: asyncpg.Connection = await connect(self.settings)
            query, values = statement(chosen, reach, after=after, limit=51)
            explained = await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}", *values)
            await connection.close()
            return str(explained)

        return json.loads(asyncio.run(plan()))[0]["Plan"]  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def table(settings: Settings, migrated: None) -> Iterator[Table]:
    table = Table(settings)
    empty = "TRUNCATE documents, batches CASCADE"
    table.run(empty, FILL, "VACUUM ANALYZE documents", "ANALYZE batch_items")
    yield table
    table.run(empty, "VACUUM ANALYZE documents")


def pages(plan: dict[str, Any]) -> int:
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


@pytest.mark.parametrize("is_deep", [False, True])
@pytest.mark.parametrize("name", RARE)
def test_a_filter_that_finds_few_reads_few(table: Table, name: str, *, is_deep: bool) -> None:
    after = Place(NOW - timedelta(days=35), UUID(int=5)) if is_deep else None
    plan = table.plan(DocumentFilter(**{name: RARE[name]}), after)

    assert pages(plan) < 8000, json.dumps(plan, indent=1)  # All of them are several times that.


@pytest.mark.parametrize("is_deep", [False, True])
@pytest.mark.parametrize("names", [[], ["rare"], ["rare", "none"], ["rare", "usual"]])
@pytest.mark.parametrize("statuses", [(), (DocumentStatus.COMPLETED,)])
def test_a_key_with_limits_reads_little_more_than_what_is_its_own(
    table: Table, names: list[str], statuses: tuple[DocumentStatus, ...], *, is_deep: bool
) -> None:
    after = Place(NOW - timedelta(days=35), UUID(int=5)) if is_deep else None
    plan = table.plan(DocumentFilter(statuses=statuses), after, Reach(frozenset(names)))

    assert pages(plan) < 500, json.dumps(plan, indent=1)


@pytest.mark.parametrize("is_deep", [False, True])
@pytest.mark.parametrize("names", list(combinations(USUAL, 2)), ids="+".join)
def test_filters_that_find_many_read_no_more_than_a_page_needs(
    table: Table, names: tuple[str, str], *, is_deep: bool
) -> None:
    after = Place(NOW - timedelta(days=40), UUID(int=5)) if is_deep else None
    plan = table.plan(DocumentFilter(**{name: USUAL[name] for name in names}), after)

    assert pages(plan) < 8000, json.dumps(plan, indent=1)
