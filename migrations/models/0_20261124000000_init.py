from tortoise import BaseDBAsyncClient

RUN_IN_TRANSACTION = True


async def upgrade(db: BaseDBAsyncClient) -> str:
    # Hand-written where aerich is blind: the extension, defaults of the database, foreign keys' indexes, the
    # partial unique indexes that make a document's identity. The index on the vectors comes with the first
    # embedder, since their dimension does (app/models/vector_space.py).
    return """
CREATE EXTENSION IF NOT EXISTS vector;

CREATE TABLE documents (
    id               UUID PRIMARY KEY,
    collection       VARCHAR(200) NOT NULL DEFAULT 'default',
    external_id      VARCHAR(1024),
    version          INT NOT NULL DEFAULT 1,
    title            TEXT,
    source_name      VARCHAR(1024),
    media_type       VARCHAR(255) NOT NULL,
    sha256           VARCHAR(64) NOT NULL,
    size_bytes       BIGINT NOT NULL,
    content_key      VARCHAR(255),
    metadata         JSONB NOT NULL DEFAULT '{}',
    stage            VARCHAR(10) DEFAULT 'queued',
    progress_unit    VARCHAR(10),
    progress_done    INT,
    progress_total   INT,
    error            JSONB,
    warnings         JSONB NOT NULL DEFAULT '[]',
    attempt          INT NOT NULL DEFAULT 0,
    failures         INT NOT NULL DEFAULT 0,
    next_attempt_at  TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP,
    lease_owner      VARCHAR(255),
    lease_expires_at TIMESTAMPTZ,
    send_at          TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP,
    sends            INT NOT NULL DEFAULT 0,
    indexed_version  INT,
    chunk_count      INT NOT NULL DEFAULT 0,
    created_at       TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at       TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP,
    completed_at     TIMESTAMPTZ,
    CONSTRAINT documents_lease_is_whole CHECK ((lease_owner IS NULL) = (lease_expires_at IS NULL))
);
CREATE UNIQUE INDEX documents_by_content ON documents (collection, sha256) WHERE external_id IS NULL;
CREATE UNIQUE INDEX documents_by_external_id ON documents (collection, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX documents_by_age ON documents (created_at, id);

CREATE TABLE document_contents (
    document_id UUID PRIMARY KEY REFERENCES documents (id) ON DELETE CASCADE,
    content     BYTEA NOT NULL
);
-- Most contents are compressed already or read once: do not spend time on squeezing them.
ALTER TABLE document_contents ALTER COLUMN content SET STORAGE EXTERNAL;

CREATE TABLE chunks (
    id          BIGSERIAL PRIMARY KEY,
    document_id UUID NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    version     INT NOT NULL,
    ordinal     INT NOT NULL,
    text        TEXT NOT NULL,
    char_start  INT NOT NULL,
    char_end    INT NOT NULL,
    page        INT,
    headings    TEXT[] NOT NULL,
    token_count INT NOT NULL,
    embedding   halfvec NOT NULL,
    CONSTRAINT chunks_in_order UNIQUE (document_id, ordinal)
);

CREATE TABLE vector_spaces (
    id         SMALLINT PRIMARY KEY CHECK (id = 1),
    model      VARCHAR(255) NOT NULL,
    dimensions INT NOT NULL
);

CREATE TABLE IF NOT EXISTS aerich (
    id      SERIAL PRIMARY KEY,
    version VARCHAR(255) NOT NULL,
    app     VARCHAR(100) NOT NULL,
    content JSONB NOT NULL
);
"""


async def downgrade(db: BaseDBAsyncClient) -> str:
    # The extension stays: other tables of this database may use it. So does aerich's own table.
    return """
DROP TABLE vector_spaces, chunks, document_contents, documents;
"""


MODELS_STATE = (
    "eJztXG1z2jgQ/isavlw6k2MSkpBc5uZmyEuvuSbkJqG9vo4RtsCa2JIrySFcL//9JGMbY8"
    "smJkAJ9Zc2rLSSeHa1u1qt+F5zqYUcXj+jpu8iImrH4HuNQBfJPzJt26AGPW/SoggC9pyg"
    "sxX2CqiwxwWDphquDx2OJMlC3GTYE5gS1b0FGB0C2gfdmLFbBxeEC0hMxAFkCHACPW5TwY"
    "8BJc4ICBsBl97L1h5yJLdpQzJAAVkOVlcTy8HkzJgMljiHT/A3HxmCDpAkMznT56+SjImF"
    "HhCPPnp3Rh8jx5pCFFtqgIBuiJEX0N69uzh7HfRU6+8ZJnV8l0x6eyNhUxJ3931s1RWPah"
    "sgghgUyEoATXzHCYUSkcYrlgTBfBQv1ZoQLNSHvqPEVfu97xNTSQmomQxfYKkCJnU9KOqK"
    "cvhHuM4Ej2G0rzvG7XnHMGoZUav1pCQTkkxKlJpgpTQSpcfxuBN0AmpNTXD6pnWztdd8Fe"
    "BBuRiwoDHArvYYMEIBx6yBBCaQSzgdFHyhLPSnNmR66Ke5UiKQi54H/IgwQX+yN2Iooz+X"
    "hHHNhQ+Gg8hA2PJjY2enAPT3rZsAd9krAJ7KHT3e6+2wqTFuUwKYAI4eBGIEOoZO2fMRT7"
    "HNBXmozaUQj6BbOti7O439J6CtuuXCPW6cxvseMa7V7gsi9FAnOFIw47GVX4Zm7y4L5IFa"
    "wa+N3f3D/aO95v6R7BKsMqYcFqB+0e6k4BRYSPYMmB2pn3o0Y4ZNUNkCqDrnHzpqZJfzb0"
    "5SLbeuWh8CjXVHYcvldfvPqHtCjU8vr09SaHPqMxMZwccSxiLFtgnIr8ZYuMjCcAxUCbin"
    "uVbnDVcGd+Pg4CmO8OAg3xGqtpRu27Bx0Cyl1jHHBmLcfIpCN/PVuZlRZo7/RUZvJBDPgn"
    "yCB7n+b5pvdS5wmVCPveBvjcbe3mFjZ695dLB/eHhwtBO7w2xTkV88ufhTucYpUWR9pVyE"
    "kKcq4w6NygXXU2ybZ72XYk5cJKA65WSR/uv2up1nuCc8KZgtbArwH3AwX5q+J86SPR87Ah"
    "NeV9P+iBOkwqg4ekkHKtvTR001QCZ6EXBQLm6JGFam8zXZ1UfWshBPRy1PilkKIpa00nuM"
    "KgFwQ35pUQbpDOPmWZklom1RotHrXIea4ZvLp64b2As+WMYgCSqgMw+6MWMFbxZexBhlZX"
    "xjzPAsx7hmqK7aAw4hI3I9mgA8H/gkz3oEJWq+jQlKoBDI9TTOMtfAJDhWdxjaeSF2pQ+x"
    "4zPdETMXzyRLBWgaUIIehBGqnPw/i+uZBEZgF+nB1bCnjUjIX4/+WOl5vk2HW6+WlIG9uD"
    "q/7bSu/p6yGWetzrlqaUylYCPqVjNlR+JBwD8XnTdAfQSfrtvnadMS9+t8qqk1QV9Qg9Ch"
    "Aa0kGhE5Ik2J2kGQI4MOJfRlYvcU2+ZF7kvJD4xRQw8elhKcY2Pp+Bews9ZMEJu0vTgi1h"
    "yCTrBVlnONRVsm5Ij7V/FGOt4Iv4NR/p5cw1mdvDW3ALZP7iRsPilz6EhxVXqbgZUh9c3n"
    "MPDTnJWNX1Mb73vWnAKe5qwEvKYCVlWTDppzD6d4q0h83SStinz7d4maU0XoQfNuCJllTL"
    "WkfKWuXCHke/32Bjkwp+40rMc+VWOsdFMvVOATaqiTAZK0QfOgnG5KBnYOJsgIqwnyMb0m"
    "qEPlP7ORjSrdTydDvsg9pYfYbbgpiF1I4CBYpRpOMecAUfAqIIHV7McBkbCe+EigYyMQ1O"
    "moIn4IuAsdB0RjHQPLZ2oCgElQny/D9BGQdtPFQn6GAkDTRJ7gAIttMMTCBoQCjuQSLMBH"
    "XCA3+2Rg6TN+IV/IJWQDxAAlcpoBBYIGg3EhbdcAAV+qDgPdCN96olqm+9z3B7Ecyj1ESL"
    "Gt9kXCj3FBz3pxkGeQMIFsVFgTpYE3LlR7meZeW10WXmXFrv196+bkot26+aivJT7RXH2d"
    "fOyct6QkSrjhrJ/J7oys1CL3Ecgtejw024e81M2Q8R2SzOAwNiZpYyARkN9bRqrBrmndnr"
    "bOzmuPBQ68pCsaRzsaBxSHQfluZxJtzfY1XYEeRBdgDrqfTRsyQwqaiePgT0Ssr13lEZSd"
    "9iDjyAKquyJhae4jSH6RzGGyqJv1LUuZYcGP0YrKZrXGX5OoCZVmbRV9lbWy+V7ihTzbeU"
    "F5SMos6WDLVFYlOCpEdW+hpAXKwlnwFCrsvxGvF1b9FGriEkpl0ZNMlRJrryfG/rUsqiFL"
    "hamullVb955fwaqveq9uzyTFRtDSV1C2GIM5p8UkUwrUn6V2UhnVz1/TDoveIVL6KjLFVe"
    "14XXm120OW0rksrm+g03+PTEHzXvYnWVPgEt/1RnViQaXrLxDmAgxtCcs9MlM4rl8Gbn0R"
    "nJGDy2R+npLNeU0ZwgPyFo1WkM9ZD2iXkNGZkVZbXPZnbFduPWiimiYHlGzeLsoE3QcdDa"
    "56lrh8oCT42Z9xcl/NzcMfCJITgKFNuboDUCOP6eN8E7DhPdJfLTxzvAUne27V7cbPku7Z"
    "axw2YyeoPhT5v9ur1uXl7BxOILcsrgU/pBAxbMQJeQVFzRaWhkllvcoUQ04zVeFcGM4966"
    "ZkcSa9hRg2bZ01D1sKDTmc9JllwfPBXbAd/VlM6DMPE3PkwvMtaX4yvLKlObZUbaoSCIfd"
    "NxDd3Sf97N1uwc/e7WZ/9i731j//IWz+nf8K3sH+mCPdwl68/lBn9vg/s11NUw=="
)
