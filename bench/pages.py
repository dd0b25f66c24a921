"""The pages with very many documents: when each is painted, its weight, and what the server takes."""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time

import asyncpg
import httpx
from playwright.sync_api import sync_playwright

from app.cli.browser import ARGUMENTS, chromium
from bench.support import conditions, service

FILL = """
    WITH made AS (
        INSERT INTO documents (id, collection, title, media_type, sha256, size_bytes, status, stage,
            completed_at, error, indexed_version, cited, attempt, created_at, updated_at, next_attempt_at)
        SELECT gen_random_uuid(), 'c' || n % 100, 'Report no. ' || n,
            (ARRAY['application/pdf', 'text/plain', 'text/html'])[1 + n % 3], lpad(n::text, 64, '0'),
            1000 + n % 100000, status, CASE WHEN status = 'PENDING' THEN 'queued' END,
            CASE WHEN status = 'COMPLETED' THEN at END,
            CASE WHEN status = 'FAILED' THEN jsonb_build_object('code', 'no_text', 'stage', 'parsing',
                'message', 'There is no text in it.', 'retryable', FALSE, 'hint', 'It may be a scan.') END,
            CASE WHEN status = 'COMPLETED' THEN 1 END,
            CASE WHEN status = 'COMPLETED' THEN '{}'::jsonb END,
            1, at, at, now() + interval '1 day' -- Nobody shall work on them: they have no content.
        FROM (
            SELECT n, now() - n * interval '0.5 s' AS at,
                CASE WHEN n % 50 = 0 THEN 'FAILED' WHEN n % 20 = 1 THEN 'PENDING'
                    ELSE 'COMPLETED' END AS status
            FROM generate_series(1, $1::int) AS n
        ) AS numbered RETURNING id, status, created_at
    )
    INSERT INTO attempts (document_id, attempt, version, worker, started_at, ended_at, outcome)
    SELECT id, 1, 1, 'bench:1', created_at, created_at, lower(status) FROM made WHERE status <> 'PENDING'
    ORDER BY created_at
"""
PAGES = {
    "upload": "/",
    "documents": "/ui/documents",
    "documents, FAILED of a type": "/ui/documents?status=FAILED&media_type=text/html",
    "documents, by a rare name": "/ui/documents?q=no.+99999",
    "search": "/ui/search?q=report",
    "overview": "/ui/overview",
}
CALLS = {"GET /documents": "/documents", "GET /stats": "/stats", **PAGES}
TIMES = 15
PAINTED = """() => new Promise(done => new PerformanceObserver(list => {
    const paint = list.getEntriesByName("first-contentful-paint")[0];
    if (paint) done(paint.startTime);
}).observe({type: "paint", buffered: true}))"""
WEIGHT = """() => [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
    .map(entry => entry.transferSize)"""


async def fill(database_url: str, documents: int) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(
            "INSERT INTO collections (name) SELECT 'c' || n FROM generate_series(0, 99) AS n"
        )
        await connection.execute(FILL, documents)
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()


def on_the_server(url: str) -> None:
    with httpx.Client(base_url=url, timeout=60) as http:
        print(f"\n{'on the server, one after the other':40}{'median':>10}{'slowest':>10}")
        for name, path in CALLS.items():
            http.get(path)
            took = []
            for _ in range(TIMES):
                time.sleep(1.05 if name in {"GET /stats", "overview"} else 0)  # What it remembers is too old.
                begun = time.perf_counter()
                http.get(path).raise_for_status()
                took.append(1000 * (time.perf_counter() - begun))
            print(f"{name:40}{statistics.median(took):7.0f} ms{max(took):7.0f} ms")


def in_the_browser(url: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        print(f"\n{'in Chromium, nothing cached':40}{'painted':>10}{'requests':>10}{'bytes':>10}")
        for name, path in PAGES.items():
            painted = []
            for _ in range(5):
                context = browser.new_context(base_url=url)
                page = context.new_page()
                page.goto(path)
                painted.append(page.evaluate(PAINTED))
                weights = page.evaluate(WEIGHT)
                context.close()
            print(f"{name:40}{statistics.median(painted):7.0f} ms{len(weights):10}{sum(weights):10,}")
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=100_000)
    asked = parser.parse_args()
    print(f"{asked.documents:,} documents; {conditions()}")
    with service(workers=1) as stack:
        asyncio.run(fill(stack.settings.DATABASE_URL, asked.documents))
        on_the_server(stack.options.url)
        in_the_browser(stack.options.url)


if __name__ == "__main__":
    main()
