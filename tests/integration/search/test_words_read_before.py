"""Words that an earlier version has stored: found meanwhile, and read anew by the rules of today."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from app.models import chunk_words
from app.models.sql import fetch
from app.models.word_counts import keep_counts
from app.parsing.parsed_document import Heading
from app.services.housekeeping import read_words_anew
from tests.integration.search.support import indexed

TEXT = "See app.client.errors at the café."


async def as_before() -> None:
    """The words as they were stored."""
    await fetch(
        """
        UPDATE chunk_words AS w SET rules = 1, length = 5,
            words = to_tsvector('english', readable(c.text)) || array_to_tsvector(ARRAY['=' || n.id]),
            weights = word_weights(to_tsvector('english', readable(c.text)), 5, 100)
        FROM chunks AS c JOIN documents AS d ON d.id = c.document_id
            JOIN collections AS n ON n.name = d.collection
        WHERE c.id = w.chunk_id
        """
    )


async def found(client: httpx.AsyncClient, query: str) -> int:
    answer = await client.post("/search", json={"query": query, "mode": "keyword"})
    return len(answer.json()["hits"])


@pytest.fixture
def in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunk_words, "READ_ANEW_AT_ONCE", 2)


async def test_they_are_found_as_before_until_they_are_read_anew(client: httpx.AsyncClient) -> None:
    await indexed(TEXT)
    await as_before()
    as_they_were = ["app.client.errors", "café", '"see app.client.errors"', "see -gate"]
    anew = ["errors", "cafe", '"client errors"']
    assert [await found(client, query) for query in as_they_were + anew] == [1, 1, 1, 1, 0, 0, 0]
    assert await found(client, "see -café") == await found(client, "see -app.client.errors") == 0

    await read_words_anew(0.01)

    assert [await found(client, query) for query in as_they_were + anew] == [1] * 7
    assert await found(client, "see -cafe") == await found(client, "see -client") == 0


async def test_all_of_them_are_read_by_as_many_as_want_to(client: httpx.AsyncClient, in_steps: None) -> None:
    ids = [
        await indexed(f"{TEXT} {number}", title=f"Règle {number}", headings=(Heading(1, "Écluse", 0),))
        for number in range(7)
    ]
    patched = await client.patch(f"/documents/{ids[0]}", json={"title": "Schlüssel"})
    assert patched.status_code == 200, patched.text
    rows = await fetch("SELECT * FROM chunk_words ORDER BY chunk_id")
    await as_before()

    await asyncio.gather(*(read_words_anew(0.01) for _ in range(3)))

    assert await fetch("SELECT * FROM chunk_words ORDER BY chunk_id") == rows
    assert await found(client, "ecluse") == 7
    assert await found(client, "schlussel") == await found(client, '"regle 3"') == 1


async def test_what_is_deleted_meanwhile_stays_away(client: httpx.AsyncClient, in_steps: None) -> None:
    ids = [await indexed(f"{TEXT} {number}") for number in range(5)]
    await as_before()
    await asyncio.gather(
        read_words_anew(0.01), *(client.delete(f"/documents/{document_id}") for document_id in ids[1:])
    )
    await read_words_anew(0.01)
    rows = await fetch("SELECT document_id, rules FROM chunk_words")
    assert [(row["document_id"], row["rules"]) for row in rows] == [(ids[0], 2)]


async def test_they_are_counted_anew(client: httpx.AsyncClient) -> None:
    await indexed(TEXT)
    await as_before()
    await keep_counts()
    assert await fetch("SELECT word FROM word_counts WHERE word = 'client'") == []
    await read_words_anew(0.01)
    await fetch("UPDATE collections SET counted_at = now() - interval '1 hour'")
    await keep_counts()
    assert await fetch("SELECT word, chunks FROM word_counts WHERE word = 'client'") == [
        {"word": "client", "chunks": 1}
    ]
    assert await fetch("SELECT chunks FROM collections WHERE name = 'default'") == [{"chunks": 1}]
