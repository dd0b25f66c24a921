"""The Cranfield collection, and how well a ranking agrees with its judgments."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from typing import NamedTuple

from bench.support import corpora


class Cranfield(NamedTuple):
    """1,400 abstracts (a few of them empty), 225 queries, and which answers which."""

    texts: dict[str, str]  # By document number; each begins with its title.
    titles: dict[str, str]
    queries: dict[str, str]  # By the judgments' number.
    relevant: dict[str, set[str]]


def cranfield() -> Cranfield:
    """All of it."""
    folder = corpora("cranfield")
    documents = re.findall(
        r"<docno>\s*(\d+)\s*</docno>.*?<title>(.*?)</title>.*?<text>(.*?)</text>",
        (folder / "cran.all.1400.xml").read_text(),
        re.DOTALL,
    )
    queries = re.findall(r"<title>(.*?)</title>", (folder / "cran.qry.xml").read_text(), re.DOTALL)
    relevant: dict[str, set[str]] = defaultdict(set)
    for line in (folder / "cranqrel.trec.txt").read_text().splitlines():
        query, _, document, grade = line.split()
        if int(grade) > 0:
            relevant[query].add(document)
    return Cranfield(
        {number: " ".join(text.split()) for number, _, text in documents if text.strip()},
        {number: " ".join(title.split()) for number, title, text in documents if text.strip()},
        # The judgments count the queries in their order; the numbers in the file are others.
        {str(number): " ".join(title.split()) for number, title in enumerate(queries, start=1)},
        dict(relevant),
    )


def abstracts(count: int) -> list[str]:
    """So many different texts: those of Cranfield, each once, and then again with a number before each."""
    texts = list(dict.fromkeys(cranfield().texts.values()))  # Some stand there twice.
    more = (f"{number} {text}" for number, text in enumerate(cycle(texts)))
    return [*texts, *islice(more, max(count - len(texts), 0))][:count]


def ndcg(ranking: Sequence[str], relevant: set[str], depth: int = 10) -> float:
    """Normalised discounted cumulative gain of the first `depth`, with judgments of yes and no."""
    gain = sum(1 / math.log2(n + 2) for n, document in enumerate(ranking[:depth]) if document in relevant)
    best = sum(1 / math.log2(n + 2) for n in range(min(depth, len(relevant))))
    return gain / best


def recall(ranking: Sequence[str], relevant: set[str], depth: int = 100) -> float:
    """The share of what is relevant that is among the first `depth`."""
    return len(set(ranking[:depth]) & relevant) / len(relevant)


def judged(rankings: Mapping[str, Sequence[str]], data: Cranfield) -> tuple[float, float]:
    """Mean nDCG@10 and mean recall@100 over the queries that have a relevant document."""
    queries = [query for query in data.queries if data.relevant.get(query)]
    return (
        sum(ndcg(rankings[query], data.relevant[query]) for query in queries) / len(queries),
        sum(recall(rankings[query], data.relevant[query]) for query in queries) / len(queries),
    )
