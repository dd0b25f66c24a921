"""What holds whatever breaks, as SQL: each query returns the rows that violate it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from tests.chaos.database import Database

MAX_SHOWN = 3

#: Of a document's chunks: their texts in their order. Golden and faulty runs are compared by it.
DIGESTS = """
    SELECT d.id, COALESCE(md5(string_agg(md5(c.text), '' ORDER BY c.ordinal)), 'none') AS digest
    FROM documents d LEFT JOIN chunks c ON c.document_id = d.id
    WHERE d.status = 'COMPLETED' GROUP BY d.id
"""

ALWAYS: Mapping[str, str] = {
    "PROCESSING at the end": "SELECT id::text FROM documents WHERE status = 'PROCESSING'",
    "PROCESSING without a lease, or a lease without PROCESSING": """
        SELECT id::text FROM documents
        WHERE (status = 'PROCESSING') <> (lease_expires_at IS NOT NULL AND lease_owner IS NOT NULL)
    """,
    "COMPLETED with another number of chunks than it says": """
        SELECT d.id::text FROM documents d LEFT JOIN chunks c ON c.document_id = d.id
        WHERE d.status = 'COMPLETED' GROUP BY d.id HAVING count(c.id) <> d.chunk_count OR count(c.id) = 0
    """,
    "chunks with a gap, or twice": """
        SELECT document_id::text FROM chunks GROUP BY document_id
        HAVING min(ordinal) <> 0 OR max(ordinal) <> count(*) - 1 OR count(DISTINCT ordinal) <> count(*)
    """,
    "chunks of two versions": """
        SELECT document_id::text FROM chunks GROUP BY document_id HAVING count(DISTINCT version) > 1
    """,
    "chunks of another version than the indexed one": """
        SELECT DISTINCT d.id::text FROM documents d JOIN chunks c ON c.document_id = d.id
        WHERE c.version IS DISTINCT FROM d.indexed_version
    """,
    "COMPLETED without its newest version in the index": """
        SELECT id::text FROM documents
        WHERE status = 'COMPLETED' AND indexed_version IS DISTINCT FROM version
    """,
    "chunks without a document": """
        SELECT c.document_id::text FROM chunks c LEFT JOIN documents d ON d.id = c.document_id
        WHERE d.id IS NULL
    """,
    "chunks without a vector in their collection's space, or one of other dimensions": """
        SELECT c.document_id::text FROM chunks c JOIN documents d ON d.id = c.document_id
            JOIN collections n ON n.name = d.collection
            LEFT JOIN chunk_vectors v ON v.chunk_id = c.id AND v.space_id = n.space_id
            LEFT JOIN vector_spaces s ON s.id = v.space_id
        WHERE v.chunk_id IS NULL OR vector_dims(v.embedding) <> s.dimensions
    """,
    "documents that are in a space without vectors of all their chunks there": """
        SELECT d.id::text FROM documents d JOIN chunks c ON c.document_id = d.id
            LEFT JOIN chunk_vectors v ON v.chunk_id = c.id AND v.space_id = d.space_id
        WHERE v.chunk_id IS NULL
    """,
    "vectors of a space that nothing says they are in": """
        SELECT v.document_id::text FROM chunk_vectors v JOIN documents d ON d.id = v.document_id
            JOIN collections n ON n.name = d.collection
        WHERE v.space_id NOT IN (n.space_id, COALESCE(n.next_space_id, n.space_id))
            AND n.stale_vectors_since IS NULL
    """,
    "chunks without words, or of another document": """
        SELECT c.document_id::text FROM chunks c LEFT JOIN chunk_words w ON w.chunk_id = c.id
        WHERE w.document_id IS DISTINCT FROM c.document_id
    """,
    "vectors or words without a chunk": """
        SELECT kept.document_id::text FROM (
            SELECT chunk_id, document_id FROM chunk_vectors
            UNION ALL SELECT chunk_id, document_id FROM chunk_words
        ) AS kept LEFT JOIN chunks c ON c.id = kept.chunk_id WHERE c.id IS NULL
    """,
    "collections with another number of chunks than they have": """
        SELECT n.name FROM collections n
        WHERE n.chunks + (SELECT COALESCE(sum(chunks), 0) FROM chunk_changes WHERE collection_id = n.id)
            <> (SELECT COALESCE(sum(chunk_count), 0) FROM documents WHERE collection = n.name)
    """,
    "FAILED without an error, or an error without FAILED": """
        SELECT id::text FROM documents
        WHERE (status = 'FAILED') <> (error IS NOT NULL)
            OR (status = 'FAILED' AND (error->>'code' IS NULL OR error->>'message' IS NULL))
    """,
    "a document without its content": """
        SELECT d.id::text FROM documents d LEFT JOIN document_contents c ON c.document_id = d.id
        WHERE (d.content_key IS NULL) <> (c.document_id IS NOT NULL)
    """,
    "an attempt or a version that went back": """
        SELECT DISTINCT document_id::text FROM (
            SELECT document_id, attempt, version, lag(attempt) OVER life AS attempt_before,
                lag(version) OVER life AS version_before
            FROM chaos.history WINDOW life AS (PARTITION BY document_id ORDER BY seq)
        ) moves WHERE attempt < attempt_before OR version < version_before
    """,
    "a claim that did not raise the attempt": """
        SELECT DISTINCT document_id::text FROM (
            SELECT document_id, status, attempt,
                lag(attempt) OVER (PARTITION BY document_id ORDER BY seq) AS before
            FROM chaos.history
        ) moves WHERE status = 'PROCESSING' AND attempt <= before
    """,
    "a move that the state machine does not have": """
        SELECT DISTINCT document_id::text FROM chaos.history
        WHERE (COALESCE(was, '-'), status) NOT IN (
            ('-', 'PENDING'), ('PENDING', 'PENDING'), ('PENDING', 'PROCESSING'), ('PENDING', 'FAILED'),
            ('PROCESSING', 'PENDING'), ('PROCESSING', 'PROCESSING'), ('PROCESSING', 'COMPLETED'),
            ('PROCESSING', 'FAILED'), ('COMPLETED', 'PENDING'), ('FAILED', 'PENDING')
        )
    """,
    "a version that was completed twice": """
        SELECT document_id::text FROM chaos.history WHERE status = 'COMPLETED'
        GROUP BY document_id, version HAVING count(*) > 1
    """,
    "an attempt under way at a document that is not PROCESSING": """
        SELECT a.document_id::text FROM attempts a JOIN documents d ON d.id = a.document_id
        WHERE a.ended_at IS NULL AND d.status <> 'PROCESSING'
    """,
    "another number of attempts than of claims": """
        SELECT COALESCE(a.document_id, c.document_id)::text
        FROM (SELECT document_id, count(*) FROM attempts GROUP BY 1) a
        FULL JOIN (SELECT document_id, count(*) FROM chaos.history
                   WHERE status = 'PROCESSING' AND was = 'PENDING' GROUP BY 1) c USING (document_id)
        WHERE a.count IS DISTINCT FROM c.count
    """,
    "COMPLETED without an attempt that completed this version": """
        SELECT d.id::text FROM documents d LEFT JOIN attempts a
            ON a.document_id = d.id AND a.version = d.version AND a.outcome = 'completed'
        WHERE d.status = 'COMPLETED' AND a.id IS NULL
    """,
    # Whose connection it was, the claims tell: the pool of a worker is nobody else's.
    "a final move by a worker that did not hold the document": """
        WITH writers AS (
            SELECT DISTINCT writer, owner FROM chaos.history WHERE status = 'PROCESSING' AND was = 'PENDING'
        )
        SELECT h.document_id::text FROM chaos.history h JOIN writers w USING (writer)
        WHERE h.was = 'PROCESSING' AND h.status = 'COMPLETED' AND w.owner <> h.was_owner
    """,
}

NO_FINAL_STATE = """
    SELECT accepted.id::text FROM unnest($1::uuid[]) AS accepted (id)
    LEFT JOIN documents d ON d.id = accepted.id
    WHERE d.status IS NULL OR d.status NOT IN ('COMPLETED', 'FAILED')
"""
NOBODYS = "SELECT id::text FROM documents WHERE NOT id = ANY($1::uuid[])"
UNLIKE_GOLDEN = f"""
    SELECT wanted.id::text FROM unnest($1::uuid[], $2::text[]) AS wanted (id, digest)
    LEFT JOIN ({DIGESTS}) AS found ON found.id = wanted.id
    WHERE found.digest IS NULL OR found.digest <> wanted.digest
"""
FAILED_OTHERWISE = """
    SELECT d.id::text || ' ' || (d.error->>'code')
    FROM documents d LEFT JOIN unnest($1::uuid[], $2::text[]) AS allowed (id, code)
        ON allowed.id = d.id AND allowed.code = d.error->>'code'
    WHERE d.status = 'FAILED' AND allowed.id IS NULL
"""


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must never be, and how often it was."""

    what: str
    count: int
    examples: Sequence[str] = ()

    def __str__(self) -> str:
        shown = f" (for one: {', '.join(self.examples)})" if self.examples else ""
        return f"{self.count} × {self.what}{shown}"


@dataclass(frozen=True, slots=True)
class Expected:
    """How the documents of a run may end."""

    accepted: Sequence[UUID]
    digests: Mapping[UUID, str]  # Of those that have to be COMPLETED.
    codes: Sequence[tuple[UUID, str]]  # What the others may fail with.


async def violations(database: Database, expected: Expected) -> list[Violation]:
    """All that is wrong once everything should be final."""
    ids, digests = list(expected.digests), list(expected.digests.values())
    may_fail, codes = [id_ for id_, _ in expected.codes], [code for _, code in expected.codes]
    accepted = list(expected.accepted)
    found = [
        await _look(database, "accepted without a final state", NO_FINAL_STATE, accepted),
        await _look(database, "a document that no client was told of", NOBODYS, accepted),
        await _look(database, "other chunks than in the golden run", UNLIKE_GOLDEN, ids, digests),
        await _look(database, "FAILED for no reason of its own", FAILED_OTHERWISE, may_fail, codes),
    ]
    found += [await _look(database, what, query) for what, query in ALWAYS.items()]
    return [violation for violation in found if violation.count]


async def digests(database: Database) -> dict[UUID, str]:
    """Of every document that is COMPLETED."""
    return {row["id"]: row["digest"] for row in await database.rows(DIGESTS)}


async def _look(database: Database, what: str, query: str, *values: object) -> Violation:
    rows = await database.rows(query, *values)
    return Violation(what, len(rows), tuple(str(row[0]) for row in rows[:MAX_SHOWN]))
