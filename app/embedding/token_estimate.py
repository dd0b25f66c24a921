"""Counts tokens of a tokenizer that is not there.

The tokenizer behind an HTTP service is the service's own, and nothing of it is at hand here. What is too long
is refused and fails the document, what is too short costs a few more passages: so the estimate errs upwards.

The rule, after how byte-pair encoders such as cl100k_base cut a text before they merge within the pieces:

- the first four letters of a word, then every three more: one token each, the first letter in either case
  (vocabularies know the beginnings of words best, and few words of any language but English in whole);
- up to two other capitals: one token, because words in capitals are rare in the vocabularies;
- up to three digits: one token;
- every character of 24 or more ASCII letters and digits in a row: one token, because such a run is base64, a
  key or a hash, of which no vocabulary knows any part;
- every other character that is no white space, accents, Cyrillic, Chinese and emoji included: one token;
- white space: nothing, if it is one blank before a word, since it merges with the word; else a token for up
  to four line ends, and one for up to 16 blanks. A blank before a digit counts, since it does not merge.

What it cannot do: a character is at most one token here, and byte-pair encoders need two or three for rare
Chinese characters, for emoji, and for letters of scripts that they have hardly seen.
"""

from __future__ import annotations

import re
from itertools import islice

# No alternative looks further than 24 characters: the time grows with the length of the text, no faster.
TOKEN = re.compile(
    r"(?=[A-Za-z0-9]{24})[A-Za-z0-9]"
    r"|(?<![^\W_])[A-Za-z][a-z]{1,3}|[A-Z]{1,2}(?![a-z])|[A-Za-z][a-z]{0,2}"
    r"|[0-9]{1,3}"
    r"|[^\sA-Za-z0-9]"
    r"|[\r\n]{1,4}"
    r"|[^\S\r\n]{1,16}(?=\s)"  # The last blank of several merges with the word that follows.
    r"|[^\S\r\n](?=[0-9])"
)


def estimate_token_offsets(text: str) -> list[tuple[int, int]]:
    """Where each estimated token of a text begins and ends.

    Returns:
        `(char_start, char_end)`, ascending, none empty, none overlapping. Every character but white space is
        in one; a text of nothing but white space has none.
    """
    return [] if text.isspace() else [token.span() for token in TOKEN.finditer(text)]


def cut_to_estimate(text: str, max_tokens: int) -> tuple[str, int]:
    """The beginning of a text that has at most `max_tokens` tokens, and how many it has.

    Never looks at more of the text than it returns, so that a large one costs no more than a long enough one.
    """
    ends = [token.end() for token in islice(TOKEN.finditer(text), max_tokens + 1)]
    if len(ends) <= max_tokens:
        return text, len(ends)
    return text[: ends[max_tokens - 1]], max_tokens
