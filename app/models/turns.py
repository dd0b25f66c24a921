"""Whose turn it is: start-time fair queueing of the documents that wait, by collection.

A document's `turn` is one more than the last of its collection that waits, but no less than the smallest that
waits anywhere. So collections that have documents waiting advance side by side, one that has had none for a
while gets no credit for that, and within a collection first come is first served. An import of fifty thousand
has turns far ahead, and what another collection is sent meanwhile comes before nearly all of them.
"""

from __future__ import annotations

#: How far ahead of the first in the queue a document may be worked on, since its own message is at hand. So
#: documents are nearly always done in the order of their messages, and nobody has to look for another.
LEEWAY = 16

#: Documents that wait for a worker, and not for their next attempt: the condition of both indexes on turns.
QUEUED = "q.status = 'PENDING' AND q.stage = 'queued'"


def next_turn(collection: str) -> str:
    """SQL for the turn of one that is queued now.

    Args:
        collection: SQL for the name of its collection.
    """
    return f"""COALESCE(GREATEST(
        (SELECT min(q.turn) FROM documents AS q WHERE {QUEUED}),
        (SELECT max(q.turn) + 1 FROM documents AS q WHERE {QUEUED} AND q.collection = {collection})
    ), 0)"""


#: That nobody is far behind the row that is to be claimed. A subquery of its own, since a join might be
#: planned to read the whole table, while nobody has counted it yet.
IS_NEARLY_FIRST = f"""documents.turn - {LEEWAY} <= COALESCE(
    (SELECT min(q.turn) FROM documents AS q WHERE {QUEUED}), documents.turn
)"""
