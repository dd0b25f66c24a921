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

DROP INDEX documents_to_send;
CREATE INDEX documents_to_send ON documents (send_at, id) WHERE status = 'PENDING';
"""


async def downgrade(db: BaseDBAsyncClient) -> str:
    return """
DROP TABLE idempotency_keys, embedded_texts, attempts;
DROP INDEX documents_to_send;
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
    "AvoiFpRCVgVtaAu+MB819DzBYgWXeLF09Gt4s3ZsIar0ejmIWEssdIys5pw7vLRFVI6ofa"
    "1vqPpG8AxG8ZgQDWXt/9CceGGONGFN2QZgRFBb3subeV5+ceF0A4Wq5hapzcyQfPIlxGqS"
    "spasOypZ3Ym15AInKesF3tEFlnHZMoNgqXdYoa3tn11b6VTiTXZuiCIrdQFRAd37X26RDT"
    "Mi29UrP0oWBZWViKPzGa8IUXvuR64iSH4uoeAN8qqBFaHqBH31g1sLqoJXoXysuI1mY4KM"
    "IAguG9obgvpU/HkZ4DBB62LeZSkZtR7iJbLYQiByktliWL2c0xYu1oK5bf0RAl54qbxVCA"
    "JnDG07ulnoDFgukwPIxDSZViYs7hkQwniMufgOOYCmiQR/ApjvgSnmI0AocJCYggWcmSPY"
    "TjrTbeMj/kH+IFeQDREDlIhhhhRw6nXmcCEQhwi4YuswMAjx3Y8Fea58g9LuJfO+6sVKm0"
    "qUy2JImECWcUFCjEiBN4qvLie71wZFB+6KSF/80r497/bat7/pgznONe6N89/6nbYuqbpI"
    "3u8iCdih+NhC+vUuvAwbSL5eKaE61A81IiimOmaLnriWWiSbOqQb/AymDIsvJMhrDtiuz9"
    "/DLGef/d+jISZCdDAgPetCCuSlUq9nAClP2pGE8lthB3y6vbno3N11ex/ACDoAPYunFn0L"
    "kQOCcf2mspJQLrtD1h6ARLTxBo96JIKmvrhv95NJsuVRSWJ7SnR4UZJM4RIhOqXssVi8x5"
    "yigil+m0mjlLfuLeXhTFLulBO7dnCqrmxPlC+xyHG62oW9yytMXW7SYnn+MZLqRcY1m4tk"
    "FjWzM4uaJcyU2x66m8lDNHy/WKEkgBThbmQCVCoVt06JeQ3Ud88xu7sLUN+yuKuOvq3dsp"
    "g4CdV4BtWT0mz3YPp8toiTMEk9OAOBG/8noc3JHFjpU3Oo72qbjih6km49huX5kjwiwp6v"
    "juHhKNdTuOZRakdeSR152tth8g6V9PfC1AdKuQdK9SXS679EupIBsrVjQnVM1FpsrcXWWu"
    "zCWmzXQuMJFZqcORNLptNjlRa5miyet5WxQoV1WZV+sBedSwfhTqIr4kDf+RH88htDYjM4"
    "4bkzB6LBFDEnT5td+zgr6LMF79tb5Z69HVNoN3XclK29Poj5IDZhWMe5sjFXyCp42Lf++z"
    "xfXQ6Xx5v3YpzfK15SuGMobvpYIFD1NSYupTaCJNdA0Nm5gqx8KOdZuTc3VwlT4Lyr3nH1"
    "+fq8I2D3UBeNME+4FmqD7AcwyFYKiF2fcuv7Ru4m0EQ6zTZenavWPnkNDUe2LJA2ICMdpc"
    "bpKYxybCcIpRQDSCepI6P3Zc9+uZ/sBUbwCemTAlbsb80+1zuZl/CjeF0PW6cnkZ9Vfsnz"
    "rN5dt6+uXnaleutWRJRHBBVUQDcSbWYJ7k9kzGORG0mSRHWkZCC5d4SltxHD5kjHzYOaXE"
    "YO521e4uDZ4K6Zj/4oLHTFON0lfhQ+m5Nmh0LXvDSDl8qXqgDCQfMKottc6HfWmjm/s9ZM"
    "/85aZr5ezmVEmdl6WwhBK3nY06sKs+9/A2O66LI="
)
