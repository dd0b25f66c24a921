"""1,000 Cranfield abstracts posted in one batch, until all are COMPLETED; beside the embedder alone."""

from __future__ import annotations

import argparse
import asyncio
import re
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import asyncpg

from app.embedding.minilm import MiniLMEmbedder
from bench.importing import imported
from bench.support import conditions, corpora, service


def abstracts(count: int) -> list[str]:
    xml = (corpora("cranfield") / "cran.all.1400.xml").read_text()
    texts = [re.sub(r"\s+", " ", text).strip() for text in re.findall(r"<text>(.*?)</text>", xml, re.DOTALL)]
    # Some abstracts stand there twice, and twice the same is one document.
    return list(dict.fromkeys(text for text in texts if text))[:count]


async def all_chunks(database_url: str) -> list[str]:
    connection = await asyncpg.connect(database_url)
    try:
        return [row["text"] for row in await connection.fetch("SELECT text FROM chunks")]
    finally:
        await connection.close()


def embed_alone(cache: str, texts: list[str]) -> float:
    """Seconds of one process with one thread, as a worker has it, on its share of the chunks."""

    async def run() -> float:
        embedder = await MiniLMEmbedder.open(cache_dir=Path(cache), threads=1)
        begun = time.perf_counter()
        await embedder.embed(texts)
        seconds = time.perf_counter() - begun
        await embedder.close()
        return seconds

    return asyncio.run(run())


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--documents", type=int, default=1000)
    arguments.add_argument("--workers", type=int, default=2)
    asked = arguments.parse_args()
    texts = abstracts(asked.documents)
    print(f"{len(texts)} abstracts, {asked.workers} worker processes, minilm int8; {conditions()}")
    with service(workers=asked.workers) as stack:
        items = [{"text": text, "title": f"Cranfield {number}"} for number, text in enumerate(texts)]
        accepted, completed = asyncio.run(imported(stack.options.url, items))
        chunks = asyncio.run(all_chunks(stack.settings.DATABASE_URL))
    with ProcessPoolExecutor(asked.workers) as processes:
        shares = [chunks[first :: asked.workers] for first in range(asked.workers)]
        alone = max(processes.map(embed_alone, [".data/models"] * asked.workers, shares))
    print(f"accepted    {len(texts) / accepted:7.1f} documents/s ({accepted:.1f} s, in one batch)")
    print(
        f"searchable  {len(chunks) / completed:7.1f} chunks/s    ({len(chunks)} chunks in {completed:.1f} s)"
    )
    print(f"embedder    {len(chunks) / alone:7.1f} chunks/s    ({alone:.1f} s alone, as many processes)")
    print(f"share of the time that the embedder takes: {alone / completed:.0%}")


if __name__ == "__main__":
    main()
