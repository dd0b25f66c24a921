"""Best chunks by their words: BM25, from weights that each chunk was stored with.

A chunk's part of the score (how often it has a word, against its length) is a sparse vector that was made
when it was stored, a question's part (how rare the word is) one that is made here; their inner product is the
score. Candidates come from the index on words, by the question's rarest words only: who has none of them
scores too little to be among the best.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import zip_longest
from typing import NamedTuple

from app.models.collection import Collection
from app.models.lexicon import lexicon_of
from app.models.sql import fetch
from app.search.filters import SQL
from app.search.question import Question
from app.search.scope import Ranked, Scope, best_first
from app.words.asking import asked_lexemes, phrase_query, quoted
from app.words.reading import placed
from app.words.slots import slot_of, sparsevec

#: So many candidates are looked for whatever it takes;
ENOUGH = 1_000
#: beyond them, none by words that are in more than this share of the chunks,
COMMON = 0.1
#: nor more than so many.
CANDIDATES = 10_000


class Word(NamedTuple):
    """A word of the question, as the index has it."""

    lexeme: str
    chunks: int  # How many have it.

    def rarity(self, of: int) -> float:
        """Its inverse document frequency among `of` chunks, as Lucene reckons it: never negative."""
        return math.log(1 + max(of - self.chunks, 0) / (self.chunks + 0.5) + 0.5 / (self.chunks + 0.5))


class Terms(NamedTuple):
    """A question in the words of one language."""

    lexemes: list[str]
    must: str | None  # A tsquery of the phrases and of what is excluded; None when there is neither.


async def best_chunks(
    question: Question, scope: Scope, *, limit: int, top_k: int, is_exact: bool = False
) -> list[Ranked]:
    """The chunks that score highest, best first; each language's collections by its own rules of words.

    Args:
        limit: At most so many,
        top_k: and so many at the least, if as many have any of the words.
        is_exact: Look at each chunk that has any of the words, however many there are.
    """
    found: list[Ranked] = []
    for language, collections in by_language(scope.collections).items():
        terms = await terms_of(question, language)
        if terms.lexemes:
            # Whoever wants more than there is gets what all the words find.
            found += await _best(terms, collections, scope, limit, limit + 1 if is_exact else top_k)
    return sorted(found, key=best_first)[:limit]


def by_language(collections: Sequence[Collection]) -> dict[str, list[Collection]]:
    """Collections, by the language whose rules their words follow."""
    groups: dict[str, list[Collection]] = defaultdict(list)
    for collection in collections:
        groups[collection.language].append(collection)
    return groups


async def terms_of(question: Question, language: str) -> Terms:
    """The question as this language's rules have it: stemmed, without the words that say nothing."""
    said = (question.text, *question.phrases, *question.excluded)
    lexicon = await lexicon_of(language, {each.key for text in said for each in placed(text)})
    before = await _as_before(question, language)
    lexemes = asked_lexemes(question.text, lexicon) + before.lexemes
    musts = [
        f"{sign} ( {either} )"
        for sign, texts, others in (
            ("", question.phrases, before.phrases),
            ("!", question.excluded, before.excluded),
        )
        for text, other in zip_longest(texts, others)
        if (either := " | ".join(filter(None, (phrase_query(text, lexicon), other))))
    ]
    return Terms(list(dict.fromkeys(lexemes)), " & ".join(musts) or None)


class _Before(NamedTuple):
    """A question by the rules that words were read by before these."""

    lexemes: list[str]
    phrases: list[str | None]
    excluded: list[str | None]


async def _as_before(question: Question, language: str) -> _Before:
    """Nothing, once all chunks have been read anew."""
    rows = await fetch(
        """
        SELECT tsvector_to_array(to_tsvector($1::regconfig, readable($2))) AS lexemes,
            ARRAY(
                SELECT NULLIF(phraseto_tsquery($1::regconfig, readable(phrase))::text, '')
                FROM unnest($3::text[]) AS phrase
            ) AS phrases,
            ARRAY(
                SELECT NULLIF(phraseto_tsquery($1::regconfig, readable(phrase))::text, '')
                FROM unnest($4::text[]) AS phrase
            ) AS excluded
        WHERE EXISTS (SELECT FROM chunk_words WHERE rules < 2)
        """,
        language,
        question.text,
        list(question.phrases),
        list(question.excluded),
    )
    return _Before(**rows[0]) if rows else _Before([], [], [])


async def _best(
    terms: Terms, collections: Sequence[Collection], scope: Scope, limit: int, top_k: int
) -> list[Ranked]:
    # Where all is searched, there is nothing to tell apart.
    is_all = scope.condition is None and len(collections) == len(scope.collections)
    marks = "" if is_all else " | ".join(quoted(f"={collection.id}") for collection in collections)
    words = await _counted(terms.lexemes, collections, marks)
    chunks = sum(collection.chunks for collection in collections)
    rarest = _rarest(words, chunks)
    weights = {slot_of(word.lexeme.encode()): word.rarity(chunks) for word in words}

    async def ask(candidates: Sequence[Word]) -> list[Ranked]:
        sql = SQL()
        score = f"(w.weights <#> {sql.value(sparsevec(weights), 'sparsevec')})"
        any_of = " | ".join(quoted(word.lexeme) for word in candidates)
        matches = [f"w.words @@ {sql.value(_and(marks, any_of), 'tsquery')}"]
        if terms.must:
            matches.append(f"w.words @@ {sql.value(terms.must, 'tsquery')}")
        documents, condition = scope.joined(sql, "w")
        rows = await fetch(
            f"""
            SELECT w.chunk_id, w.document_id, -{score} AS score FROM chunk_words AS w {documents}
            WHERE {" AND ".join([*matches, condition])}
            ORDER BY {score} LIMIT {sql.value(limit, "bigint")}
            """,
            *sql.values,
        )
        return [Ranked(**row) for row in rows]

    if not words:
        return []
    found = await ask(rarest)
    return found if len(found) >= top_k or len(rarest) == len(words) else await ask(words)


async def _counted(lexemes: Sequence[str], collections: Sequence[Collection], marks: str) -> list[Word]:
    """The words that any chunk has, rarest first."""
    rows = await fetch(
        """
        SELECT lexeme, (
            SELECT sum(chunks)::bigint FROM word_counts
            WHERE word = lexeme AND collection_id = ANY($2::int[])
        ) AS chunks
        FROM unnest($1::text[]) AS lexeme
        """,
        list(lexemes),
        [collection.id for collection in collections],
    )
    # New words, and such as are too rare to be counted beforehand: the index has them at hand.
    unknown = [row["lexeme"] for row in rows if row["chunks"] is None]
    now = {}
    if unknown:
        for row in await fetch(
            """
            SELECT lexeme, (SELECT count(*) FROM chunk_words WHERE words @@ query::tsquery) AS chunks
            FROM unnest($1::text[], $2::text[]) AS asked (lexeme, query)
            """,
            unknown,
            [_and(marks, quoted(lexeme)) for lexeme in unknown],
        ):
            now[row["lexeme"]] = row["chunks"]
    words = [Word(row["lexeme"], row["chunks"] or now.get(row["lexeme"], 0)) for row in rows]
    return sorted((word for word in words if word.chunks), key=lambda word: word.chunks)


def _rarest(words: Sequence[Word], chunks: int) -> list[Word]:
    """Enough of the words, which come rarest first, that the best chunks have one."""
    chosen: list[Word] = []
    reached = 0
    for word in words:
        is_too_much = word.chunks > COMMON * chunks or reached + word.chunks > CANDIDATES
        if reached >= ENOUGH and is_too_much:
            break
        chosen.append(word)
        reached += word.chunks
    return chosen


def _and(left: str, right: str) -> str:
    return f"( {left} ) & ( {right} )" if left else right
