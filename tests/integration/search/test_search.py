"""Questions over HTTP: by words, by meaning, by both; filters, citations, and what is left out."""

from __future__ import annotations

import asyncio
import math
from io import BytesIO
from typing import Any
from uuid import UUID

import httpx
import pytest

from app.core.config import Settings
from app.core.database import connect
from app.models.collection import Collection
from app.models.document import Document
from app.models.sql import fetch, transaction
from app.models.vector_space import VectorSpace
from app.models.word_counts import keep_counts
from app.parsing.parsed_document import Heading, Page
from app.parsing.registry import parse
from app.search.filters import SQL, Condition
from tests.integration.search.support import indexed

GATES = "The upper gate opens at six in the morning. The lower gate follows when the chamber is full."
WATER = "In high water the gates stay closed, and the keeper sounds the horn twice."
SWANS = "The swan has five cygnets. Nobody feeds them, and nobody should."


async def search(client: httpx.AsyncClient, query: str, **asked: Any) -> list[dict[str, Any]]:
    answer = await client.post("/search", json={"query": query, **asked})
    assert answer.status_code == 200, answer.text
    hits: list[dict[str, Any]] = answer.json()["hits"]
    return hits


def texts(hits: list[dict[str, Any]]) -> list[str]:
    return [hit["text"] for hit in hits]


# --- By words ----------------------------------------------------------------------------------------------


async def test_words_are_found_in_every_form_and_the_rare_ones_count_most(client: httpx.AsyncClient) -> None:
    for text in (GATES, WATER, SWANS, "A gate. And a gate.", "The gate is not a swan."):
        await indexed(text)

    assert texts(await search(client, "feeding swans at the gate", mode="keyword"))[0] == SWANS
    assert texts(await search(client, "horns", mode="keyword")) == [WATER]
    assert await search(client, "the of and", mode="keyword") == []
    assert await search(client, "zeppelin", mode="keyword") == []


@pytest.mark.parametrize(
    ("text", "query", "marked"),
    [
        ("See app.client.errors for them.", "errors", ["errors"]),
        ("See app.client.errors for them.", "app.client.errors", ["app.client.errors"]),
        ("See app.client.errors for them.", '"client errors"', ["client", "errors"]),
        ("Open upper.html, then door_of_mill.", "mills upper", ["upper", "mill"]),
        ("Write to keeper@canal.example now.", "keeper@canal.example", ["keeper@canal.example"]),
        ("It rose by 3.14 in 1.2.3.", "3.14", ["3.14"]),
        ("Cold at the café.", "cafe", ["café"]),
        ("Cold at the cafe\u0301s.", "café", ["cafe\u0301s"]),
        ("Cold at the cafe.", "cafés", ["cafe"]),
        ("Zur Schleuse an der Straße", "strasse", ["Straße"]),
        ("The of\ufb01ce has a soft\u00adened door.", "office softened", ["of\ufb01ce", "soft\u00adened"]),
        ("北京大学 在中国", "北京", ["北京"]),
        ("我住在北京大学。", "北京大学", ["北京大学"]),
        ("水门在六点打开", "水", ["水"]),
        ("水門は六時に開く", '"六時に"', ["六時に"]),
        ("서울에서 만나요", "서울", ["서울"]),
        ("ประตูน้ำเปิดตอนหกโมงเช้า", "เปิด", ["เปิด"]),
        ("द्वार छह बजे खुलता है", "द्वार", ["द्वार"]),
        ("Шлюз открывается в шесть", "шлюз", ["Шлюз"]),
    ],
)
@pytest.mark.parametrize("mode", ["keyword", "hybrid"])
async def test_words_are_found_in_all_scripts_in_their_parts_and_without_their_accents(
    client: httpx.AsyncClient, text: str, query: str, marked: list[str], mode: str
) -> None:
    for each in (text, GATES):
        await indexed(each)
    (hit,) = [hit for hit in await search(client, query, mode=mode) if hit["text"] == text]
    assert hit["legs"]["keyword"]["rank"] == 1
    assert [text[span["start"] : span["end"]] for span in hit["highlights"]] == marked


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("大学在北京", '"北京大学"'),
        ("See app.client.errors for them.", '"errors client"'),
        ("See app.client.errors for them.", "errors -app.client"),
        ("Cold at the café.", "cold -cafe"),
        ("3.14 is a number", "3 14"),
    ],
)
async def test_what_is_in_another_order_or_excluded_is_not_found(
    client: httpx.AsyncClient, text: str, query: str
) -> None:
    await indexed(text)
    assert await search(client, query, mode="keyword") == []


async def test_scores_are_those_of_bm25(client: httpx.AsyncClient) -> None:
    """By the formula of Lucene's BM25 with k1 = 1.5 and b = 0.75, over lexemes."""
    for text in ("gate gate lock", "gate swan horn keeper river", "lock"):
        await indexed(text)
    await keep_counts()  # From now on the average length is known,
    for text in ("gate gate lock river", "swan gate"):
        await indexed(text)  # and these are weighed by it.
    await fetch("UPDATE collections SET counted_at = now() - interval '1 minute'")
    await keep_counts()

    hits = await search(client, "gate river", mode="keyword")

    def score(counts: list[int], length: int, containing: list[int], average: float) -> float:
        return sum(
            math.log(1 + (5 - n + 0.5) / (n + 0.5)) * tf * 2.5 / (tf + 1.5 * (0.25 + 0.75 * length / average))
            for tf, n in zip(counts, containing, strict=True)
        )

    found = {hit["text"]: hit["score"] for hit in hits}
    assert found["gate gate lock river"] == pytest.approx(score([2, 1], 4, [4, 2], 3), abs=2e-3)
    assert found["swan gate"] == pytest.approx(score([1], 2, [4], 3), abs=2e-3)
    assert texts(hits)[0] == "gate gate lock river"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ('"lower gate"', [GATES]),
        ('"gate lower"', []),
        ("gate -horn", [GATES]),
        ('gate -"upper gate"', [WATER]),
        ('"high water" gates', [WATER]),
        ("gate - horn", [WATER, GATES]),
        ('gate "', [GATES, WATER]),
        ("-gate", []),
        ("well-known gate", [GATES, WATER]),
        ('"high-water"', [WATER]),
        ('"horn/twice"', [WATER]),
    ],
)
@pytest.mark.parametrize("mode", ["keyword", "hybrid"])
async def test_phrases_have_to_be_there_and_minus_words_must_not(
    client: httpx.AsyncClient, query: str, expected: list[str], mode: str
) -> None:
    for text in (GATES, WATER):
        await indexed(text)

    assert sorted(texts(await search(client, query, mode=mode))) == sorted(expected)


async def test_a_title_is_among_the_first_chunks_words_and_headings_among_those_below_them(
    client: httpx.AsyncClient,
) -> None:
    gates, water = (" ".join([sentence] * 4) for sentence in (GATES, WATER))
    document = await indexed(
        f"{gates}\n\nFloods\n\n{water} {water}",
        title="Rules of the canal",
        headings=(Heading(char_start=len(gates) + 2, level=1, title="Floods"),),
    )
    path = f"/documents/{document}"

    (first,) = await search(client, "canal", mode="keyword")
    below = await search(client, "flooding", mode="keyword")
    await client.patch(path, json={"title": "Zeppelins"})

    assert (first["text"][:14], first["citation"]["char_start"]) == ("The upper gate", 0)
    assert any("Floods" not in hit["text"] and hit["citation"]["headings"] == ["Floods"] for hit in below)
    assert await search(client, "canal", mode="keyword") == []
    assert [hit["chunk_id"] for hit in await search(client, "zeppelin", mode="keyword")] == [
        first["chunk_id"]
    ]


async def test_the_header_of_a_table_is_cited_with_its_rows_and_among_their_words(
    client: httpx.AsyncClient,
) -> None:
    rows = "".join(f"lock{number},{number % 7}.5,19{number:02}\n" for number in range(10, 90))
    table = parse(BytesIO(f"Lock,Height,Built\n{rows}".encode()), name="locks.csv", max_text_chars=10_000)
    await indexed(table.text, tables=table.tables, media_type="text/csv", source_name="locks.csv")

    (first,) = await search(client, "height lock10", mode="keyword", top_k=1)
    (hit,) = await search(client, "height lock88", mode="keyword", top_k=1)

    assert ("Height" in first["text"], first["citation"]["headings"]) == (True, [])
    assert ("lock88 | 4.5 | 1988" in hit["text"], "Height" in hit["text"]) == (True, False)
    assert hit["citation"]["headings"] == ["Lock | Height | Built"]
    assert len(await search(client, "height", mode="keyword", top_k=100)) > 5


async def test_each_collection_has_its_words_counted_for_itself(client: httpx.AsyncClient) -> None:
    for number in range(20):
        await indexed(f"gate {number}", collection="gates")
    for text in ("a gate and a swan", "a swan", "a swan again", "swans"):
        await indexed(text, collection="birds")
    await keep_counts()

    rows = await fetch(
        "SELECT n.name, w.chunks FROM word_counts AS w JOIN collections AS n ON n.id = w.collection_id"
        " WHERE word = 'gate' ORDER BY n.name"
    )
    assert [tuple(row.values()) for row in rows] == [("birds", 1), ("gates", 20)]
    (hit, *_) = await search(client, "gate swan", mode="keyword", collections=["birds"])
    assert hit["text"] == "a gate and a swan"


async def test_all_collections_are_counted_in_one_pass(client: httpx.AsyncClient) -> None:
    for number in range(12):
        await indexed("a gate", collection=f"c{number}")
    await keep_counts()

    counted = await fetch("SELECT count(DISTINCT collection_id) AS collections FROM word_counts")
    assert counted[0]["collections"] == 12


#: For a lock on this database's chunks.
STORING_WAITS = """
    SELECT count(*) FROM pg_locks JOIN pg_database AS d ON d.oid = database
    WHERE NOT granted AND relation = 'chunks'::regclass AND d.datname = current_database()
    """


async def test_what_is_stored_while_the_average_moves_is_weighed_by_the_new_one(
    client: httpx.AsyncClient, settings: Settings
) -> None:
    other = await connect(settings)
    async with other.transaction():
        await other.execute("LOCK TABLE chunks IN SHARE MODE")
        storing = asyncio.create_task(indexed("the gate, the lock and the river", collection="slow"))
        async with asyncio.timeout(10):
            while not await other.fetchval(STORING_WAITS):
                await asyncio.sleep(0.01)  # Until it has read the average and waits to store.
        await other.execute("UPDATE collections SET weighed_length = 2.5 WHERE name = 'slow'")
    await storing
    await other.close()

    (row,) = await fetch("SELECT weights = word_weights(words, length, 2.5) AS are_new FROM chunk_words")
    assert row["are_new"]


async def test_counts_follow_what_is_deleted_and_updated(client: httpx.AsyncClient) -> None:
    doomed = await indexed("a gate", external_id="a")
    await indexed("a swan", external_id="b")
    await keep_counts()
    await indexed("a heron", external_id="b")
    await client.delete(f"/documents/{doomed}")
    await keep_counts()

    counts = await fetch("SELECT word, chunks FROM word_counts ORDER BY word")
    assert [tuple(row.values()) for row in counts] == [("heron", 1)]
    collection = await Collection.get(name="default")
    assert (collection.chunks, collection.counted_chunks, collection.counted_words) == (1, 1, 1)


async def test_words_that_were_not_counted_yet_are_found_all_the_same(client: httpx.AsyncClient) -> None:
    await indexed(GATES)
    await keep_counts()
    await indexed(SWANS)

    assert texts(await search(client, "cygnets", mode="keyword")) == [SWANS]


async def test_a_language_is_a_collections_own(client: httpx.AsyncClient) -> None:
    await Collection.create(name="names", language="simple", space_id=1)
    await indexed("The gates of Who", collection="names")
    await indexed("The gates of Whom", collection="english")

    assert texts(await search(client, "gate", mode="keyword")) == ["The gates of Whom"]
    assert texts(await search(client, "who", mode="keyword")) == ["The gates of Who"]
    assert len(await search(client, "gates", mode="keyword")) == 2


@pytest.mark.parametrize(
    "query", ["'", "\\", "a\\' & b | !c <-> (d", ":*", "'; --", "\u0001", "é\u0301", "x" * 3000, "😀", "=1"]
)
async def test_any_text_is_a_question(client: httpx.AsyncClient, query: str) -> None:
    await indexed(GATES)

    for mode in ("keyword", "vector", "hybrid"):
        await search(client, query, mode=mode)
    assert await search(client, query, mode="keyword") == []


# --- Both --------------------------------------------------------------------------------------------------


async def test_a_hit_tells_what_each_leg_thought_of_it(client: httpx.AsyncClient) -> None:
    for text in (GATES, WATER, SWANS):
        await indexed(text)

    first, *rest = await search(client, "when does the upper gate open")

    assert first["text"] == GATES
    assert first["score"] == pytest.approx(1)
    assert first["legs"]["keyword"]["rank"] == first["legs"]["vector"]["rank"] == 1
    assert first["legs"]["vector"]["score"] <= 1 < first["legs"]["keyword"]["score"] + 1
    assert rest[-1]["legs"].keys() == {"vector"}  # No word of it, and some meaning.
    scores = [hit["score"] for hit in (first, *rest)]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("mode", ["vector", "keyword", "hybrid"])
async def test_fewer_hits_by_score_by_number_and_by_document(client: httpx.AsyncClient, mode: str) -> None:
    long = await indexed(" ".join(f"The gate has number {n}." for n in range(200)), chunk_tokens=16)
    await indexed(GATES)

    hits = await search(client, "gate", mode=mode, top_k=5)
    assert len(hits) == 5
    least = hits[2]["score"]
    assert all(hit["score"] >= least for hit in await search(client, "gate", mode=mode, min_score=least))
    few = await search(client, "gate", mode=mode, max_per_document=2)
    assert [hit["document_id"] for hit in few].count(str(long)) == 2
    assert len(few) == 3


async def test_a_hit_comes_with_its_neighbours_without_doubled_overlap(client: httpx.AsyncClient) -> None:
    text = "\n\n".join(f"Paragraph {n} has gate number {n}  in it, and little else." for n in range(30))
    await indexed(text, chunk_tokens=40, overlap_tokens=12)

    for asked in (1, 2, 5):
        for hit in await search(client, "gate number", top_k=20, context=asked):
            context = hit["context"]
            assert context["text"] == text[context["char_start"] : context["char_end"]]
            assert hit["text"] in context["text"]
            assert len(context["text"]) > len(hit["text"])
    assert (await search(client, "gate number"))[0]["context"] is None


async def test_a_citation_leads_to_its_place(client: httpx.AsyncClient) -> None:
    document_id = await indexed(
        f"{SWANS}\n\n{GATES}",
        chunk_tokens=20,
        title="Birds and gates",
        source_name="birds.txt",
        metadata={"season": "summer"},
    )

    hit = (await search(client, "lower gate"))[0]
    citation = hit["citation"]
    assert (hit["document_id"], hit["version"]) == (str(document_id), 1)
    assert (citation["title"], citation["source"]) == ("Birds and gates", "birds.txt")
    assert hit["metadata"] == {"season": "summer"}
    assert hit["text"] == f"{SWANS}\n\n{GATES}"[citation["char_start"] : citation["char_end"]]


async def test_two_files_of_one_name_are_told_apart_by_their_paths(client: httpx.AsyncClient) -> None:
    paths = ["gates/README.md", "swans/README.md"]
    for path in paths:
        await indexed(f"{GATES} {path}", external_id=path, source_name="README.md")
    await indexed(f"{GATES} Unnamed.", source_name="README.md")

    hits = await search(client, "gate")
    found = (await client.get("/ui/search", params={"q": "gate"})).text

    assert {hit["external_id"] for hit in hits} == {*paths, None}
    assert {hit["citation"]["source"] for hit in hits} == {"README.md"}
    assert all(found.count(f">{name}</a>") == 1 for name in [*paths, "README.md"])


def paged(*texts: str) -> tuple[str, tuple[Page, ...]]:
    """A text with a page for each of the texts, and where these are."""
    pages: list[Page] = []
    start = 0
    for number, text in enumerate(texts, start=1):
        pages.append(Page(number, start, start + len(text)))
        start += len(text) + 2
    return "\n\n".join(texts), tuple(pages)


async def test_a_hit_and_its_neighbours_name_all_pages_that_they_are_on(client: httpx.AsyncClient) -> None:
    text, pages = paged(SWANS, "The horn is blue.", f"{WATER} {GATES}")
    document = await indexed(text, chunk_tokens=20, pages=pages)

    hits = {hit["chunk_id"]: hit for hit in await search(client, "swan horn gate", context=1)}
    chunks = (await client.get(f"/documents/{document}/chunks")).json()["chunks"]
    html = (await client.get(f"/ui/documents/{document}")).text
    found = (await client.get("/ui/search", params={"q": "swan horn gate"})).text

    def number(place: int) -> int:
        return next(page.number for page in pages if page.char_start <= place < page.char_end)

    assert len(chunks) == len(hits) > 2
    for chunk in chunks:
        on = (number(chunk["char_start"]), number(chunk["char_end"] - 1))
        hit = hits[chunk["chunk_id"]]
        around = hit["context"]
        assert (chunk["page"], chunk["page_end"]) == on
        assert (hit["citation"]["page"], hit["citation"]["page_end"]) == on
        assert (around["page"], around["page_end"]) == (
            number(around["char_start"]),
            number(around["char_end"] - 1),
        )
        shown = f"page {on[0]}" if on[0] == on[1] else f"pages {on[0]}–{on[1]}"
        assert f"<span>{shown}</span>" in found
        assert (f"<span>{shown}</span>" in html) == (on[0] != on[1])
    assert {chunk["page"] == chunk["page_end"] for chunk in chunks} == {True, False}


async def test_a_chunk_that_is_older_than_last_pages_ends_where_it_begins(client: httpx.AsyncClient) -> None:
    text, pages = paged("The swan.", "The gate.")
    document = await indexed(text, pages=pages)
    await fetch("UPDATE chunks SET page_end = NULL")

    (hit,) = await search(client, "gate", context=1)
    (chunk,) = (await client.get(f"/documents/{document}/chunks")).json()["chunks"]

    for place in (hit["citation"], hit["context"], chunk):
        assert (place["page"], place["page_end"]) == (1, 1)


async def test_where_there_are_no_pages_none_is_named(client: httpx.AsyncClient) -> None:
    await indexed(GATES)
    (hit,) = await search(client, "gate", context=1)
    for place in (hit["citation"], hit["context"]):
        assert (place["page"], place["page_end"]) == (None, None)


async def test_the_words_of_the_question_are_marked_in_every_form(client: httpx.AsyncClient) -> None:
    text = "Gates <b>open</b> & close. The opening of a gate, re-opened."
    await indexed(text)

    (hit,) = await search(client, "open gate", mode="keyword")

    marked = [hit["text"][span["start"] : span["end"]] for span in hit["highlights"]]
    assert marked == ["Gates", "open", "opening", "gate", "opened"]


async def test_marks_of_our_own_in_a_text_cost_its_highlights_alone(
    client: httpx.AsyncClient,
) -> None:
    await indexed("A gate \ue000 and \ue001 another.")

    (hit,) = await search(client, "gate", mode="keyword")
    assert hit["text"] == "A gate \ue000 and \ue001 another."


# --- Deleted, updated, elsewhere ---------------------------------------------------------------------------


async def test_what_is_deleted_is_in_no_leg(client: httpx.AsyncClient) -> None:
    doomed = await indexed(GATES)
    await indexed(WATER)
    await client.delete(f"/documents/{doomed}")

    for mode in ("keyword", "vector", "hybrid"):
        assert texts(await search(client, "upper gate morning", mode=mode)) == [WATER]
    for table in ("chunks", "chunk_words", "chunk_vectors"):
        assert [row["n"] for row in await fetch(f"SELECT count(*) AS n FROM {table}")] == [1]


async def test_the_old_version_answers_until_the_new_one_is_there(client: httpx.AsyncClient) -> None:
    await indexed(GATES, external_id="a")
    new = await Document.get()
    await client.post("/ingest", json={"text": SWANS, "external_id": "a"})

    assert texts(await search(client, "gate")) == [GATES]
    await indexed(SWANS, external_id="b")
    assert (await Document.get(id=new.id)).version == 2


async def test_only_the_collections_that_are_named_are_searched(client: httpx.AsyncClient) -> None:
    await indexed(GATES, collection="a")
    await indexed(GATES, collection="b")

    for mode in ("keyword", "vector", "hybrid"):
        assert [hit["collection"] for hit in await search(client, "gate", mode=mode, collections=["b"])] == [
            "b"
        ]
        assert await search(client, "gate", mode=mode, collections=["c"]) == []
        assert len(await search(client, "gate", mode=mode, collections=["a", "b"])) == 2


# --- Filters -----------------------------------------------------------------------------------------------

DOCUMENTS: dict[str, dict[str, Any]] = {
    "a": {"year": 2019, "season": "summer", "tags": ["lock", "gate"], "author": {"name": "Ida"}},
    "b": {"year": 2021, "season": "winter", "tags": ["swan"], "draft": True},
    "c": {"year": "2021", "season": None, "tags": "gate"},
    "d": {},
}


def on(key: str, **operators: Any) -> dict[str, Any]:
    return {"field": f"metadata.{key}", **operators}


FILTERS = [
    (on("season", eq="summer"), "a"),
    (on("season", ne="summer"), "bcd"),
    (on("season", eq=None), "c"),
    (on("season", exists=True), "abc"),
    (on("season", exists=False), "d"),
    ({"field": "metadata.season", "in": ["summer", "winter"]}, "ab"),
    (on("season", nin=["summer", "winter"]), "cd"),
    (on("year", gt=2019), "b"),
    (on("year", gte=2019), "ab"),
    (on("year", gte=2019, lt=2021), "a"),
    (on("year", lte="2021"), "c"),
    (on("year", eq=2021), "b"),
    (on("year", eq=2021.0), "b"),
    (on("draft", eq=True), "b"),
    (on("tags", contains="gate"), "ac"),
    (on("tags", contains="swan"), "b"),
    (on("tags", contains=7), ""),
    (on("season", prefix="su"), "a"),
    (on("season", prefix="s%"), ""),
    (on("author.name", eq="Ida"), "a"),
    (on("author", exists=True), "a"),
    ({"and": [on("year", gte=2019), on("draft", eq=True)]}, "b"),
    ({"or": [on("season", eq="summer"), on("draft", eq=True)]}, "ab"),
    ({"not": on("year", gt=2000)}, "cd"),
    ({"not": {"or": [on("season", eq="summer"), {"not": on("draft", exists=True)}]}}, "b"),
    ({"field": "external_id", "prefix": "b"}, "b"),
    ({"field": "external_id", "in": ["a", "d"]}, "ad"),
    ({"field": "media_type", "eq": "text/plain"}, "abcd"),
    ({"field": "collection", "ne": "default"}, ""),
    ({"field": "title", "contains": "itle c"}, "c"),
    ({"field": "source", "exists": False}, "abcd"),
    ({"field": "created_at", "gt": "2026-01-01T00:00:00Z"}, "abcd"),
    ({"field": "created_at", "gt": "2026-01-01"}, "abcd"),
    ({"field": "created_at", "lte": "2026-01-01T09:00"}, ""),
    ({"field": "completed_at", "lt": "2026-01-01T00:00:00Z"}, ""),
    ({"field": "document_id", "ne": "00000000-0000-0000-0000-000000000000"}, "abcd"),
]


@pytest.mark.parametrize("is_small", [True, False], ids=["one by one", "through the index"])
async def test_filters_let_the_right_documents_through(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, is_small: bool
) -> None:
    monkeypatch.setattr("app.search.vector.EXACT_UP_TO", 5000 if is_small else -1)
    for name, metadata in DOCUMENTS.items():
        await indexed(f"gate {name}", external_id=name, title=f"Title {name}", metadata=metadata)

    found = {}
    for condition, _ in FILTERS:
        for mode in ("keyword", "vector"):
            hits = await search(client, "gate", mode=mode, filter=condition)
            found[str(condition), mode] = "".join(sorted(hit["text"][-1] for hit in hits))
    assert found == {
        (str(condition), mode): names for condition, names in FILTERS for mode in ("keyword", "vector")
    }


@pytest.mark.parametrize(
    ("condition", "pointer"),
    [
        ({}, "/filter"),
        ("gate", "/filter"),
        ({"field": "status", "eq": "x"}, "/filter"),
        ({"field": "metadata.", "eq": "x"}, "/filter/field"),
        ({"field": "metadata.a"}, "/filter"),
        ({"field": "metadata.a", "gt": None}, "/filter/gt"),
        ({"field": "metadata.a", "eq": {"b": 1}}, "/filter/eq"),
        ({"field": "metadata.a", "like": "x"}, "/filter/like"),
        ({"field": "metadata.a", "eq": "\x00"}, "/filter/eq"),
        ({"field": "metadata.a", "lt": 10**400}, "/filter/lt"),
        ({"field": "created_at", "gt": "yesterday"}, "/filter/gt"),
        ({"field": "created_at", "gt": "0001-01-01T00:00:00+14:00"}, "/filter/gt"),
        ({"field": "document_id", "in": ["x"]}, "/filter/in/0"),
        ({"and": [on("a", eq=1), {"or": [on("b", eq=[])]}]}, "/filter/and/1/or/0/eq"),
        ({"and": []}, "/filter/and"),
        ({"not": {"not": {"field": "x"}}}, "/filter/not/not"),
        ({"and": [on("a", eq=1)], "or": []}, "/filter/or"),
    ],
)
async def test_a_bad_filter_is_refused_with_its_place(
    client: httpx.AsyncClient, condition: Any, pointer: str
) -> None:
    answer = await client.post("/search", json={"query": "gate", "filter": condition})

    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_a_filter_of_absurd_size_is_refused(client: httpx.AsyncClient) -> None:
    deep: dict[str, Any] = on("a", eq=1)
    for _ in range(9):
        deep = {"not": deep}
    wide = {"or": [{"and": [on("a", eq=n)] * 11} for n in range(10)]}

    for condition in (deep, wide):
        answer = await client.post("/search", json={"query": "gate", "filter": condition})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/filter")


@pytest.mark.parametrize(
    ("condition", "index"),
    [
        (Condition(("season",), "eq", "summer"), "documents_by_metadata"),
        (Condition(("season",), "in", ["summer", "autumn"]), "documents_by_metadata"),
        (Condition(("author", "name"), "eq", "Ida"), "documents_by_metadata"),
        (Condition(("tags",), "contains", 7), "documents_by_metadata"),
        (Condition("external_id", "prefix", "a/b"), "documents_by_external_id"),
        (Condition("document_id", "eq", UUID(int=1)), "documents_pkey"),
    ],
)
async def test_filters_find_their_index(client: httpx.AsyncClient, condition: Condition, index: str) -> None:
    sql = SQL()
    where = sql.where(condition)
    async with transaction():
        # Of a table with nothing in it, reading all is best: the question is what else could be done.
        await fetch("SELECT set_config('enable_seqscan', 'off', TRUE)")
        await fetch("SELECT set_config('plan_cache_mode', 'force_custom_plan', TRUE)")
        plan = await fetch(f"EXPLAIN SELECT id FROM documents AS d WHERE {where}", *sql.values)

    assert index in str(plan)


async def test_a_model_that_is_away_is_named_with_what_can_be_searched_without_it(
    client: httpx.AsyncClient,
) -> None:
    far = await VectorSpace.adopt("openai", "far", 8)
    await Collection.put("far", {"space_id": far.id})
    await indexed(GATES)

    answer = await client.post("/search", json={"query": "gate"})

    assert (answer.status_code, answer.json()["code"]) == (503, "model_unavailable")
    assert "It is the model of 'far': name other collections" in answer.json()["hint"]
    assert texts(await search(client, "gate", collections=["default"])) == [GATES]
    assert texts(await search(client, "gate", mode="keyword")) == [GATES]
