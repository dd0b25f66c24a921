"""Haystack, as "PgvectorDocumentStore" and "DocumentWriter" in its documentation do it."""

import os
from dataclasses import replace

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"

import loading
from haystack import Document, Pipeline, component
from haystack.components.preprocessors import DocumentSplitter
from haystack.components.writers import DocumentWriter
from haystack.utils import Secret
from haystack_integrations.document_stores.pgvector import PgvectorDocumentStore

TABLE = "passages"


@component
class Embedder:
    """The shared embedder, with the shape that Haystack asks for."""

    def __init__(self, model: loading.StaticModel) -> None:
        self._model = model

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, list[Document]]:
        vectors = self._model.embed([document.content for document in documents]).tolist()
        pairs = zip(documents, vectors, strict=True)
        return {"documents": [replace(document, embedding=vector) for document, vector in pairs]}


def prepare(question: loading.Question, model: loading.StaticModel) -> loading.Load:
    store = PgvectorDocumentStore(
        connection_string=Secret.from_token(question.url("postgresql")),
        table_name=TABLE,
        embedding_dimension=model.dimensions,
        vector_function="cosine_similarity",
        search_strategy="hnsw",
        hnsw_index_creation_kwargs={"m": loading.HNSW_M, "ef_construction": loading.HNSW_EF_CONSTRUCTION},
    )
    store.count_documents()  # It makes the table and its indexes.
    splitter = DocumentSplitter(
        split_by="word", split_length=question.chunk_words, split_overlap=question.overlap_words
    )
    pipeline = Pipeline()
    pipeline.add_component("splitter", splitter)
    pipeline.add_component("embedder", Embedder(model))
    pipeline.add_component("writer", DocumentWriter(document_store=store))
    pipeline.connect("splitter", "embedder")
    pipeline.connect("embedder", "writer")
    pipeline.warm_up()

    def load() -> loading.Loaded:
        done = pipeline.run({"splitter": {"documents": [Document(content=text) for text in question.texts]}})
        return loading.Loaded(done["writer"]["documents_written"], TABLE)

    return load


loading.answer(prepare, packages=["haystack-ai", "pgvector-haystack"])
