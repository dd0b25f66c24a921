"""Ranks texts by bm25s, as its README does it: {texts, queries, depth} in, rankings of numbers out."""

import json
import sys

sys.path.pop(0)  # This file bears the library's name.

import bm25s
import Stemmer

asked = json.load(sys.stdin)
stemmer = Stemmer.Stemmer("english")


def tokens(texts: list[str]) -> object:
    return bm25s.tokenize(texts, stopwords="en", stemmer=stemmer, show_progress=False)


retriever = bm25s.BM25()
retriever.index(tokens(asked["texts"]), show_progress=False)
found, _ = retriever.retrieve(tokens(asked["queries"]), k=asked["depth"], show_progress=False)
json.dump(found.tolist(), sys.stdout)
