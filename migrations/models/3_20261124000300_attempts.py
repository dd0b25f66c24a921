from tortoise import BaseDBAsyncClient

RUN_IN_TRANSACTION = True


async def upgrade(db: BaseDBAsyncClient) -> str:
    # Hand-written where aerich is blind: defaults of the database, uniqueness, the index's order. A document that
    # is in a worker's hand while this runs gets the attempt that it is in.
    return """
CREATE TABLE attempts (
    id            BIGSERIAL PRIMARY KEY,
    document_id   UUID NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    attempt       INT NOT NULL,
    version       INT NOT NULL,
    worker        VARCHAR(255) NOT NULL,
    started_at    TIMESTAMPTZ NOT NULL,
    ended_at      TIMESTAMPTZ,
    outcome       VARCHAR(11),
    stage         VARCHAR(10),
    stage_seconds JSONB NOT NULL DEFAULT '{}',
    error         JSONB,
    CONSTRAINT attempts_in_order UNIQUE (document_id, attempt),
    CONSTRAINT attempts_outcome_when_ended CHECK ((ended_at IS NULL) = (outcome IS NULL))
);
INSERT INTO attempts (document_id, attempt, version, worker, started_at)
SELECT id, attempt, version, lease_owner, updated_at FROM documents WHERE status = 'PROCESSING';

CREATE TABLE embedded_texts (
    id          BIGSERIAL PRIMARY KEY,
    document_id UUID NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    key         BYTEA NOT NULL,
    embedding   halfvec NOT NULL,
    created_at  TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT embedded_texts_by_key UNIQUE (document_id, key)
);

CREATE TABLE idempotency_keys (
    key         VARCHAR(255) PRIMARY KEY,
    fingerprint VARCHAR(64) NOT NULL,
    document_id UUID,
    status      VARCHAR(10),
    created     BOOL,
    created_at  TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

-- When a message was sent, in place of when to send the next one: what was sent before the queue was emptied is
-- gone. Whoever waits while this runs is sent again, once.
DROP INDEX documents_to_send;
ALTER TABLE documents RENAME COLUMN send_at TO sent_at;
UPDATE documents SET sent_at = 'epoch' WHERE status = 'PENDING';
CREATE INDEX documents_to_send ON documents (sent_at, id) WHERE status = 'PENDING';

CREATE INDEX documents_failed ON documents (updated_at) WHERE status = 'FAILED';

-- Whose files lie in a storage: it bears this id (app/services/orphans.py).
CREATE TABLE installations (id UUID PRIMARY KEY DEFAULT gen_random_uuid());
INSERT INTO installations DEFAULT VALUES;

-- Is there a row that names this file?
CREATE INDEX documents_by_content_key ON documents (content_key) WHERE content_key IS NOT NULL;
"""


async def downgrade(db: BaseDBAsyncClient) -> str:
    return """
DROP TABLE installations, idempotency_keys, embedded_texts, attempts;
DROP INDEX documents_failed;
DROP INDEX documents_by_content_key;
DROP INDEX documents_to_send;
ALTER TABLE documents RENAME COLUMN sent_at TO send_at;
CREATE INDEX documents_to_send ON documents (send_at) WHERE status = 'PENDING';
"""


MODELS_STATE = (
"eJztXVtz2zYW/isYvWwy43os+ZZ1d3ZGtpVEW1vO2Eq2bZqhYBKWMKYAFQQta7v57wV4Ew"
    "mCtKibRYYvtgTgAOAH8NxwDvRXY0wtZDv7FyOXPDbOwF8NAsdIfEhW7IEGnEzmxbKAw3vb"
    "a2nKJl4RvHc4gyYXpQ/QdpAospBjMjzhmBLZdsDRMx8A7IDBV3MEmeFwyPiZ9xER69sA0A"
    "fARwhMIHOQBWRzWYS5AyxqumNE+D8E8RNijuhysC+HFRViXEyGGxvBJfhPFxmcDpEgZWKc"
    "r99EMSYWekZO+HXyaDxgZFsJHLElO/DKDT6beGXneNgl/L3XVs7/3jCp7Y7JvP1kxkeURA"
    "SYcFk6RAQxyJEcgTNX4ktc2w4WIoTcn+y8iT/LGI2FHqBry1WS1P4E5mUNw+jd9I27Tt8w"
    "GqkVDClikAdFJiVy9cVUHQ+AoZzCT/9stQ4PT1sHhyfvjo9OT4/fHbwTbb35pqtOv/uTma"
    "Pld+Vh1v3Q7fXlhKjYYv7OkwXfPRrIoU/lLcYc/WAV00uQiX+M4uVFCCHPW4WwYL4M83dj"
    "e+vQah6dHr07PDmK4I9K8lAPEZ4jSpmFCbQLIBqjqBHVICo5UBrOvijV4xm2V8AUUywhmD"
    "lI9Tu/eu/72HH+tGVB70v79uJj+/bNdfvXt17NLKi5uul9CJvP2UPv4urmXAF7LhIK7OAk"
    "Ub2JNZs4lK9FUQ1Iakw1mE6g6HBxPMPmS2EZqAZVhXKEoBBCQycNZ5sxONMDGidSQLWxs7"
    "Ed2vjXg0tMiRi4d7HNMXH25Xj/brwOD/76TRVY9BERgZNLijBRhap+4zXbFI3vkSX3XBrX"
    "j9B++IJMTpke3gSpAi5xx5PZPrGg3OslhDkHw5GA5QmZCo6hIWforK/Pn7uXegwVMgVF18"
    "XWviSuFoKeRnV44ilUE+rwIfMqPZgErNKwfXjUGlchXGmI31OG8JD8gnzO2hVzgcTUSafA"
    "zXAZ66qc0M5L59KUwWnkEVA3l8BAPDniHgoX7buL9mWn4aF9D83HKWSWkYBd1tAWVUqitu"
    "mqcWuslkAiVAQreBI5bxV9jQMovjLZPqDw4RZ0A7UBo1OACRhEhIN9EG4TB0CGgEPgxBlR"
    "7pwBSuyZ57MZ0ydRe49sQS3URzJEXrHoLO0I2tAYa3YFZTOj9fOgl/1BMdVDjmS4HIstYN"
    "LxBPJ9WXL6GkrICxxqL8f/I+C0kfdAaegvhP2RYZkkqLZnZ0cfN6WujOGzYSMy5COpoxwc"
    "5IAe2tqi1VvFrA6qWn6dosE8c8QItLWSNxtxhWwpyHfNhEmA3TxoHS2AtmyWCbdfmcS7JA"
    "7OZkkUcI65rbG5c5xxIUEVtuy2nXEOdZmJDO9rAWahkFUB+e0wizGyMPSBKgB3kqoSXmdF"
    "EB4fLyIIj4+zBaGsU/b2CLaOTwpt64iighifLLKhT7K380lqMzv4f8i4n3GkcerlHbAm6a"
    "rkhtrKWWtctyZc2rOPaFZMuU6QVY97b4SdjBGH0spJI/2fu5teFuOe0ygwW9jk4P9g225s"
    "OexrWJASo3ztRVVU9pKmpuwgpb1wyF0N88nh8BHFFm3KT53eZbf3YTs2ZXMRk7KZbVE2Uw"
    "alwEx3CpYLsvYcbHOcpSGausgqK8ITRuU2dwzx0BpfbjbSKcLq8fINom1RUuh0V6Wrj3k1"
    "J+YhSJzyQjFKacIaXi28pgBJDGkgxijTCL9sT4mWuAocY9teEw+9InpgRLCSElge1Dei7U"
    "0hI/oIkmzg4zS7oYC/VhzJRpYEco7GkyIxKDGK7Rn+ByXh7g8Q2y7TuVMy8YyT1ICqgBIh"
    "C41gy4n/aVwvBTAcj5EeXA25ykQC+v3ww1Z9Vz06ffN2Q3Kze92567evPyV4xmW735E1rY"
    "TgDEvfnCh8JOoE/Lfb/wjkV/D7Ta+jspaoXf/3hpwTdDk1CJ0a0IqjERaHRYmlthF0kEGn"
    "AvoiFpRCVgVtaAu+MB819DzBYgWXeLF09Gt4s3ZsIar0ejnSYVx8oWNkNefc3aW1iqgcUf"
    "ta31D1jeAZjOIxIRrK2v+hOfHCHGnCmrINwIigtryXN/O8/OLC6QYKVc0tUpuZIfnkS4jV"
    "JGUtWXdUsroTa8kFTlLWC7yjCyzjsmUGwVLvsEJb2z+7ttKpxJvs3BBFVuoCogK697/cIh"
    "tmRLarV36ULAoqKxFH5zNeEaL23I9cRZD8XELBG+RVAytC1Qn66ge3FlQFr0L5WHEbzcYE"
    "GUEQXDa0NwT1qfjzMsBhgtbFvMtSMmo9xEtksYVA5CSzxbB6OactXKwFc9v6IwS88FJ5qx"
    "AEzhjadnSz0BmwXCYHkIlpMq1MWNwzIITxGHPxHXIATRMJ/gQw3wNTzEeAUOAgMQULODNH"
    "sJ10ptvGR/yD/EGuIBsiBigRwwwp4NTrzOFCIA4RcMXWYWAQ4rsfC/Jc+Qal3UvmfdWLlT"
    "aVKJfFkDCBLOOChBiRAm8UX11Odq8Nig7cFZG++KV9e97ttW9/0wdznGvcG+e/9TttXVJ1"
    "kbzfRRKwQ/GxhfTrXXgZNpB8vVJCdagfakRQTHXMFj1xLbVINnVIN/gZTBkWX0iQ1xywXZ"
    "+/h1nOPvu/R0NMhOhgQHrWhRTIS6VezwBSnrQjCeW3wg74dHtz0bm76/Y+gBF0AHoWTy36"
    "FiIHBOP6TWUloVx2h6w9AIlo4w0e9UgETX1x3+4nk2TLo5LE9pTo8KIkmcIlQnRK2WOxeI"
    "85RQVT/DaTRilv3VvKw5mk3Ckndu3gVF3ZnihfYpHjdLULe5dXmLrcpMXy/GMk1YuMazYX"
    "ySxqZmcWNUuYKbc9dDeTh2j4frFCSQApwt3IBKhUKm6dEvMaqO+eY3Z3F6C+ZXFXHX1bu2"
    "UxcRKq8QyqJ6XZ7sH0+WwRJ2GSenAGAjf+T0Kbkzmw0qfmUN/VNh1R9CTdegzL8yV5RIQ9"
    "Xx3Dw1Gup3DNo9SOvJI68rS3w+QdKunvhakPlHIPlOpLpNd/iXQlA2Rrx4TqmKi12FqLrb"
    "XYhbXYroXGEyo0OXMmlkynxyotcjVZPG8rY4UK67Iq/WAvOpcOwp1EV8SBvvMj+OU3hsRm"
    "cMJzZw5EgyliTp42u/ZxVtBnC963t8o9ezum0G7quClbe30Q80FswrCOc2VjrpBV8LBv/f"
    "d5vrocLo8378U4v1e8pHDHUNz0sUCg6mtMXEptBEmugaCzcwVZ+VDOs3Jvbq4SpsB5V73j"
    "6vP1eUfA7qEuGmGecC3UBtkPYJCtFBC7PuXW943cTaCJdJptvDpXrX3yGhqObFkgbUBGOk"
    "qN01MY5dhOEEopBpBOUkdG78ue/XI/2QuM4BPSJwWs2N+afa53Mi/hR/G6HrZOTyI/q/yS"
    "51m9u25fXb3sSvXWrYgojwgqqIBuJNrMEtyfyJjHIjeSJInqSMlAcu8IS28jhs2RjpsHNb"
    "mMHM7bvMTBs8FdMx/9UVjoinG6S/wofDYnzQ6FrnlpBi+VL1UBhIPmFUS3udDvrDVzfmet"
    "mf6dtcx8vZzLiDKz9bYQglbysKdXFWbf/wZAYOjS"
)
