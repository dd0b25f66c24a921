"""What a question says: words, "quoted phrases" and -words."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PART = re.compile(r'(?P<minus>(?<!\S)-)?(?:"(?P<phrase>[^"]*)"|(?P<word>[^\s"]+))')


@dataclass(frozen=True, slots=True)
class Question:
    """A question, taken apart."""

    text: str  # Without operators and what they exclude: what an embedder is asked.
    phrases: tuple[str, ...] = ()  # A hit has to have each of them,
    excluded: tuple[str, ...] = ()  # and none of these words and phrases.

    @classmethod
    def parse(cls, query: str) -> Question:
        """Every string is a question: a lone quotation mark or minus is one that was typed by chance."""
        said: list[str] = []
        phrases: list[str] = []
        excluded: list[str] = []
        for part in _PART.finditer(query if query.count('"') % 2 == 0 else query.replace('"', " ")):
            text = part["phrase"] if part["phrase"] is not None else part["word"]
            if part["minus"]:
                excluded.append(text)
                continue
            said.append(text)
            if part["phrase"] is not None:
                phrases.append(text)
        return cls(
            text=" ".join(filter(str.strip, said)),
            phrases=tuple(filter(str.strip, phrases)),
            excluded=tuple(filter(str.strip, excluded)),
        )
