"""LlamaIndex, as "Ingestion Pipeline" and "Postgres Vector Store" in its documentation do it."""

import loading
from llama_index.core import Document
from llama_index.core.embeddings import BaseEmbedding
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.vector_stores.postgres import PGVectorStore
from pydantic import PrivateAttr
from sqlalchemy import make_url


class Embedding(BaseEmbedding):
    """The shared embedder, with the methods that LlamaIndex asks for."""

    _model: loading.StaticModel = PrivateAttr()

    def __init__(self, model: loading.StaticModel) -> None:
        super().__init__(embed_batch_size=loading.EMBED_AT_ONCE)
        self._model = model

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._model.embed(texts).tolist()

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    _get_query_embedding = _get_text_embedding

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


def prepare(question: loading.Question, model: loading.StaticModel) -> loading.Load:
    url = make_url(question.url("postgresql"))
    store = PGVectorStore.from_params(
        database=url.database,
        host=url.host,
        port=str(url.port),
        user=url.username,
        password=url.password,
        table_name="passages",
        embed_dim=model.dimensions,
        hnsw_kwargs={
            "hnsw_m": loading.HNSW_M,
            "hnsw_ef_construction": loading.HNSW_EF_CONSTRUCTION,
            "hnsw_ef_search": 40,
            "hnsw_dist_method": "vector_cosine_ops",
        },
    )
    splitter = SentenceSplitter(
        chunk_size=question.chunk_tokens,
        chunk_overlap=question.overlap_tokens,
        tokenizer=model.token_offsets,  # Only their number counts.
    )
    pipeline = IngestionPipeline(transformations=[splitter, Embedding(model)], vector_store=store)
    pipeline.run(documents=[Document(text="The first makes the table.")])
    store.clear()

    def load() -> loading.Loaded:
        documents = [Document(text=text) for text in question.texts]
        return loading.Loaded(len(pipeline.run(documents=documents)), "data_passages")

    return load


loading.answer(prepare, packages=["llama-index-core", "llama-index-vector-stores-postgres"])
