"""LangChain, as langchain-postgres documents it; the index is there before, or made at the end."""

import loading
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_postgres import PGEngine, PGVectorStore
from langchain_postgres.v2.indexes import HNSWIndex
from langchain_text_splitters import RecursiveCharacterTextSplitter

TABLE = "passages"


class Embedding(Embeddings):
    """The shared embedder, with the methods that LangChain asks for."""

    def __init__(self, model: loading.StaticModel) -> None:
        self._model = model

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self._model.embed(texts).tolist()

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


def prepare(question: loading.Question, model: loading.StaticModel) -> loading.Load:
    engine = PGEngine.from_connection_string(url=question.url("postgresql+asyncpg"))
    engine.init_vectorstore_table(table_name=TABLE, vector_size=model.dimensions)
    store = PGVectorStore.create_sync(engine=engine, table_name=TABLE, embedding_service=Embedding(model))
    index = HNSWIndex(m=loading.HNSW_M, ef_construction=loading.HNSW_EF_CONSTRUCTION)
    if not question.in_one_go:
        store.apply_vector_index(index)
    splitter = RecursiveCharacterTextSplitter(
        chunk_size=question.chunk_tokens,
        chunk_overlap=question.overlap_tokens,
        length_function=lambda text: len(model.token_offsets(text)),
    )

    def load() -> loading.Loaded:
        documents = splitter.split_documents([Document(page_content=text) for text in question.texts])
        ids = store.add_documents(documents)
        if question.in_one_go:
            store.apply_vector_index(index)
        return loading.Loaded(len(ids), TABLE)

    return load


loading.answer(prepare, packages=["langchain-core", "langchain-postgres"])
