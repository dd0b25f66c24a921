"""The lexicons of this process, one for each language, and PostgreSQL's dictionaries behind them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

import asyncpg

from app.models.sql import fetch
from app.words.lexicon import BETWEEN_STEMS, Lexicon

#: When the lexicons of all languages are so large, all is forgotten, and the usual words soon are back.
BYTES_KEPT = 24 * 1024 * 1024

_lexicons: dict[str, Lexicon] = defaultdict(Lexicon)


async def lexicon_of(
    language: str, keys: Collection[str], connection: asyncpg.Connection | None = None
) -> Lexicon:
    """A lexicon that knows these keys.

    Args:
        language: A text search configuration. What its dictionaries say of a word is asked once: changes to
            them count from the next start on.
        keys: From `app/words/reading.py`.
        connection: What to ask on; any one when None.
    """
    lexicon = _lexicons[language]
    unknown = lexicon.unknown(keys)
    if not unknown:
        return lexicon
    if sum(each.size_bytes for each in _lexicons.values()) > BYTES_KEPT:
        _lexicons.clear()  # Whoever has one in hand goes on with it.
        lexicon = _lexicons[language]
        unknown = lexicon.unknown(keys)
    forms = (form for forms in unknown.values() for form in forms.forms)
    asked = list(dict.fromkeys(text for form in forms for text in form.asked))
    stems: list[str] = []
    if asked:
        question = (STEMS, language, asked, BETWEEN_STEMS)
        rows = await (fetch(*question) if connection is None else connection.fetch(*question))
        stems = rows[0]["stems"]
    lexicon.learn(unknown, dict(zip(asked, stems, strict=True)))
    return lexicon


#: In the language $1, of each text in $2, parted by $3.
STEMS = """
    SELECT ARRAY(
        SELECT array_to_string(tsvector_to_array(to_tsvector($1::regconfig, word)), $3)
        FROM unnest($2::text[]) WITH ORDINALITY AS asked (word, number) ORDER BY number
    ) AS stems
    """
