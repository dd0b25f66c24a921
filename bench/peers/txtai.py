"""txtai with vectors and texts in PostgreSQL, as its documentation does it ("External database").

It has no splitter by length that works without a download, so the texts are cut by words here.
"""

import tempfile
from collections.abc import Iterator

import loading
from txtai import Embeddings

TABLE = "passages"


def cut(text: str, words_at_once: int, overlap: int) -> Iterator[str]:
    words = text.split(" ")
    for first in range(0, max(len(words) - overlap, 1), words_at_once - overlap):
        yield " ".join(words[first : first + words_at_once])


def commit(embeddings: Embeddings) -> None:
    """`save` is what commits to PostgreSQL, beside a file with the settings."""
    with tempfile.TemporaryDirectory() as folder:
        embeddings.save(folder)


def prepare(question: loading.Question, model: loading.StaticModel) -> loading.Load:
    url = question.url("postgresql+psycopg2")
    embeddings = Embeddings(
        method="external",
        transform=lambda texts: model.embed(list(texts)),
        content=url,
        backend="pgvector",
        pgvector={
            "url": url,
            "table": TABLE,
            "m": loading.HNSW_M,
            "efconstruction": loading.HNSW_EF_CONSTRUCTION,
        },
    )

    if not question.in_one_go:
        embeddings.index([("first", "The first makes the table and its index.", None)])
        commit(embeddings)

    def load() -> loading.Loaded:
        chunks = [
            (f"{number}-{ordinal}", chunk, None)
            for number, text in enumerate(question.texts)
            for ordinal, chunk in enumerate(cut(text, question.chunk_words, question.overlap_words))
        ]
        if question.in_one_go:
            embeddings.index(chunks)  # It drops what was there, and builds its index over all at the end.
        else:
            embeddings.upsert(chunks)  # It adds to the index, as long as that has anything in it.
            embeddings.delete(["first"])
        commit(embeddings)
        return loading.Loaded(len(chunks), TABLE)

    return load


loading.answer(prepare, packages=["txtai"])
