"""Text as the tokenizers take it."""

from __future__ import annotations


def encodable(text: str) -> str:
    """A tokenizer takes no half of a surrogate pair; a question mark in its place moves no offset."""
    return text.encode("utf-8", "replace").decode("utf-8")
