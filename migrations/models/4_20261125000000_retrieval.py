from tortoise import BaseDBAsyncClient

RUN_IN_TRANSACTION = True


async def upgrade(db: BaseDBAsyncClient) -> str:
    # Hand-written: aerich sees no functions, no partial or expression indexes, and no data that has to move.
    # What was ingested before gets its words here, at a few thousand chunks a second.
    return """
CREATE TABLE collections (
    id              INT GENERATED ALWAYS AS IDENTITY UNIQUE,
    name            VARCHAR(200) PRIMARY KEY,
    language        VARCHAR(63) NOT NULL DEFAULT 'english',
    chunk_tokens    INT,
    overlap_tokens  INT,
    created_at      TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP,
    deleting_at     TIMESTAMPTZ,
    chunks          BIGINT NOT NULL DEFAULT 0,
    changed_chunks  BIGINT NOT NULL DEFAULT 0,
    counted_chunks  BIGINT NOT NULL DEFAULT 0,
    counted_words   BIGINT NOT NULL DEFAULT 0,
    counted_at      TIMESTAMPTZ
);
INSERT INTO collections (name) SELECT 'default' UNION SELECT DISTINCT collection FROM documents;
ALTER TABLE documents ADD CONSTRAINT documents_in_collection FOREIGN KEY (collection) REFERENCES collections (name);

-- Chunks that came to a collection or left it; folded into its row from time to time, or all who store and delete
-- would wait for each other there.
CREATE TABLE chunk_changes (
    id            BIGSERIAL PRIMARY KEY,
    collection_id INT NOT NULL,
    chunks        INT NOT NULL
);
INSERT INTO chunk_changes (collection_id, chunks)
SELECT n.id, sum(d.chunk_count) FROM documents AS d JOIN collections AS n ON n.name = d.collection
GROUP BY n.id HAVING sum(d.chunk_count) > 0;

-- In how many chunks of a collection a word is, as of the last count.
CREATE TABLE word_counts (
    word          TEXT NOT NULL,
    collection_id INT NOT NULL REFERENCES collections (id) ON DELETE CASCADE,
    chunks        INT NOT NULL,
    PRIMARY KEY (word, collection_id)
);
CREATE INDEX word_counts_by_collection ON word_counts (collection_id);

-- Where a word's weight is in a `sparsevec`. Two words in one place do no harm worth mentioning: there are half a
-- billion. This hash is the one that partitions tables, so it stays what it is.
CREATE FUNCTION word_slot(word TEXT) RETURNS BIGINT LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (hashtextextended(word, 0) & 536870911) + 1;

-- BM25's part of a chunk, k1 = 1.2 and b = 0.75: by the inverse document frequencies of a question's words, it is
-- the score.
CREATE FUNCTION word_weights(words TSVECTOR, average_length FLOAT8) RETURNS sparsevec
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT ('{' || COALESCE(string_agg(slot || ':' || round(weight::numeric, 4), ','), '') || '}/536870912')::sparsevec
    FROM (
        SELECT word_slot(lexeme) AS slot,
            max(n * 2.2 / (n + 1.2 * (0.25 + 0.75 * length / average_length))) AS weight
        FROM (
            SELECT lexeme, cardinality(positions) AS n, sum(cardinality(positions)) OVER () AS length
            FROM unnest(words)
        ) AS counted
        GROUP BY slot
    ) AS weighed
$$;

CREATE TABLE chunk_words (
    chunk_id    BIGINT PRIMARY KEY,
    document_id UUID NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    length      INT NOT NULL,
    words       TSVECTOR NOT NULL,
    weights     sparsevec NOT NULL
);
-- A question reads thousands of weights: they belong beside the rest of the row, as they are.
ALTER TABLE chunk_words SET (toast_tuple_target = 8160);
ALTER TABLE chunk_words ALTER weights SET STORAGE MAIN;

-- Beside its words, each has a mark of its collection, which no word looks like: one index finds both.
INSERT INTO chunk_words (chunk_id, document_id, length, words, weights)
SELECT r.id, r.document_id, counted.length, words || array_to_tsvector(ARRAY['=' || r.collection_id]),
    word_weights(words, 100)
FROM (
    SELECT c.id, c.document_id, n.id AS collection_id, to_tsvector('english', c.text) AS words
    FROM chunks AS c JOIN documents AS d ON d.id = c.document_id JOIN collections AS n ON n.name = d.collection
) AS r, LATERAL (SELECT COALESCE(sum(cardinality(positions)), 0) AS length FROM unnest(words)) AS counted;
CREATE INDEX chunk_words_by_word ON chunk_words USING gin (words);
CREATE INDEX chunk_words_by_document ON chunk_words (document_id);

-- Vectors lie by themselves, so that those of a new model can be made beside the old ones.
CREATE TABLE chunk_vectors (
    chunk_id    BIGINT NOT NULL,
    space_id    SMALLINT NOT NULL REFERENCES vector_spaces (id),
    document_id UUID NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    embedding   halfvec NOT NULL,
    PRIMARY KEY (chunk_id, space_id)
);
INSERT INTO chunk_vectors SELECT c.id, s.id, c.document_id, c.embedding FROM chunks AS c, vector_spaces AS s;
DROP INDEX IF EXISTS chunks_embedding;
ALTER TABLE chunks DROP COLUMN embedding;
CREATE INDEX chunk_vectors_by_document ON chunk_vectors (document_id);
DO $$
DECLARE space RECORD;
BEGIN
    FOR space IN SELECT id, dimensions FROM vector_spaces LOOP
        EXECUTE format(
            'CREATE INDEX chunk_vectors_space_%s ON chunk_vectors'
            ' USING hnsw ((embedding::halfvec(%s)) halfvec_ip_ops) WHERE space_id = %s',
            space.id, space.dimensions, space.id
        );
    END LOOP;
END $$;
-- The white space before a chunk: with it, the chunks are the text.
ALTER TABLE chunks ADD gap TEXT NOT NULL DEFAULT '';
UPDATE chunks AS c SET gap = repeat(' ', c.char_start - before.char_end)
FROM (
    SELECT id, COALESCE(max(char_end) OVER earlier, 0) AS char_end FROM chunks
    WINDOW earlier AS (PARTITION BY document_id ORDER BY ordinal ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
) AS before
WHERE before.id = c.id AND c.char_start > before.char_end;

CREATE INDEX documents_by_metadata ON documents USING gin ((cited -> 'metadata') jsonb_path_ops)
WHERE cited IS NOT NULL;
CREATE INDEX documents_by_external_id_prefix ON documents (external_id text_pattern_ops) WHERE external_id IS NOT NULL;
"""


async def downgrade(db: BaseDBAsyncClient) -> str:
    return """
DROP INDEX documents_by_metadata;
DROP INDEX documents_by_external_id_prefix;
ALTER TABLE chunks DROP COLUMN gap;
ALTER TABLE chunks ADD embedding halfvec;
UPDATE chunks AS c SET embedding = v.embedding FROM chunk_vectors AS v WHERE v.chunk_id = c.id AND v.space_id = 1;
ALTER TABLE chunks ALTER embedding SET NOT NULL;
DO $$
DECLARE space RECORD;
BEGIN
    FOR space IN SELECT dimensions FROM vector_spaces WHERE id = 1 LOOP
        EXECUTE format(
            'CREATE INDEX chunks_embedding ON chunks USING hnsw ((embedding::halfvec(%s)) halfvec_ip_ops)',
            space.dimensions
        );
    END LOOP;
END $$;
DROP TABLE chunk_vectors, chunk_words;
DROP FUNCTION word_weights, word_slot;
ALTER TABLE documents DROP CONSTRAINT documents_in_collection;
DROP TABLE word_counts, chunk_changes, collections;
"""


MODELS_STATE = (
"eJztXWtz2zYW/SsYfdlkxvVYdmxn3Z2dkR9J1DpyxlaybZMMBZOQhDEFqABoWdvmvxfg+w"
    "HSoiTqZX5JLAAXJA/Ai3sP7gX/aoyohWy+fzF0yEPjDPzVIHCE5B/Jij3QgONxVKwKBLy3"
    "3ZamauIWwXsuGDSFLO1DmyNZZCFuMjwWmBLVtifQk+gBzEHvqzmEzOACMnHm/omI9b0HaB"
    "+IIQJjyDiygGquirDgwKKmM0JE/EsKPyLGZZe9fXVZWSGvi8mgkit8I99IW1Y+IlNQBiCx"
    "3LYTyiwObIwAJsDFgvs9YwbohOyBnguM4cnxnivpl7nCvTMAAUeQmUNwP1WS3wglSN6F7I"
    "pQAYbwEQFBAUPQcm+Zyn+Y+8gOwX86yBB0gFSZfPCv32UxJhZ6Qjz4OX4w+hjZVmJgsaU6"
    "cMsNMR27Zed40CbindtWAXpvmNR2RiRqP56KISWhACZClQ4QQQwKpK4gmKMGnDi27c+MYA"
    "54Nxs18e4yJmOhPnRsNW2UtHcDUVnDMDo3XePuqmsYjcyUCiRic8AvMilR01HeKncBGKhb"
    "+Onfh4dHR6eHB0cnb4/fnJ4evz14K9u695utOv3h3UyElteVi1n7fbvTVTdE5Zz3XgVV8M"
    "OVgQJ6Uu5gROj70yo7BLn4xySeH4QA8qJRCAqiYYhe1tWNw2Hzzembt0cnb0L4w5Ii1AOE"
    "I0Tlq4QJtEsgGpOoEdUgOoDjLJpdqSf1cPrNU1DKG6wKykajIiALUOpe/ea+6yPO/7RVQe"
    "dL6/biQ+v21cfWb6/dmqlfc33TeR80j1RD5+L65jwFtFp7yiAdtF8d1BXO2lWDHRkDJVRF"
    "UqjWFhptEVhWZVH1RWpMNZiOoexwdjyD5nNh6dtguwrlUBrP8no8C2eLMTjVAxoXSoFqY1"
    "7ZDG38p+8QUyEG7h1sC0z4vrref9e04H39nl6w6AMiEieHlFGiKan6jddM08D1NHTu2efP"
    "7Us9tCmxFLSOg619JbyFABeg51oCRyeuITCmXAyYW+nCJGFVnm//Qet9BXBlIX5HGcID8i"
    "vyNEJb3gskpk6r+sTIZayr7YQ2Ko1WAQYnIWWQnlwSA/nkSLgoXLTuLlqXVw0X7XtoPkwg"
    "s4wE7KqGHtJUSdg2WzU6HKVLIJFLm+U/ibrvgJaito1M/8GzpFVUu1fIXIXtZqSvWoDRiS"
    "J8ejHR3s9gBC0EJkNEXJqmjxkXIZkETDpCfA9QplgeRR1xJIRaXbLkVQX9L8AUuf9n3pQL"
    "abzplVHQfjnuyXrJohF8MmxEBmKodPrBQYE6CnwT2ep1yg3xqw69umJmSKf4Xwopt7Rl1I"
    "Zk4GiN5/xpG5dZIYkhJ5e07YZVmXbJGXxyNMMEPjnKnb+qKu32KSLbNe00tnWB65cUq10W"
    "DaP5iJgNx+XBzQrW8GoIC4bUsxtQYwZeyhqBRyhn8iYkU9havuh+8MdKLcMOnbx6XZEn2P"
    "54dddtffyUoOQuW90rVXOYoOOC0lcnKVUSdgL+1+5+AOon+OOmc5W24cN23T8a6p6gI6hB"
    "6MSAVhyNoDgoSvpSykqVDzvHCKdElzDEG/Yy7dI4RxvPs+9mRjKroyEOqlWMK9nRTPC9RP"
    "pkxnzop2XrUZhzFBSbNu8oZGTrUVhsFNx4jvkGIRStx2CxMZjDnEtI1mv9pq31GSJ3PVxj"
    "yPRqmMY4C5zPMwZUXWmWMRTs7YOAkuYAMgQ4gWM+pIKfAUpsN3oMjKT/x8E9sqW0t9K6xb"
    "KzIqZxqddYclxa/sbH8vc7nufBYttz6kqGI7CcAiYdjaHYVyWn69ioe2Y3ZK+AcjQTPPms"
    "fFlSaoWMWfBnVctXVZxvBDh6EogRaGt3+fIRT4nNBfmGrU1JsJsHh29mQFs1y4Xbq0zivS"
    "XRls1qDbKlMWcCC1tDrRcErAUCuzBlVx2wxqnDTGSU3YVLie0C8qtRFiNkYegBVQLupNRO"
    "RGamFsLj41kWwuPj/IVQ1aXm9hAeHp+UmtahxA5ifDLLhD7Jn84nmcnM8f+RcT8VqCQtkZ"
    "TbpVCtldMSRKjYmQc0LWdcJ8R2T3tXok5GSEDl5WSR/uXuppOnuCOZNPeDTQH+BqsO9VSX"
    "XYcHqTAqtl7Shspe0tVUHWSsFwGFo1E+BRo+lFihT/npqnPZ7rxfjU/ZnMWlbOZ7lM2MQy"
    "kxKxfsEgqsTLM0ZFMHWduK8JhRNc25IR9awzDnI50R3D1dXiHaFiWlMiDScnXgiyarJABJ"
    "UFEqYTIrWMOrhdeUIKnoEcQYZZrFL58p0QrvgsZYNWviolfGDgwFFjICtwf1Sqy9CWREn2"
    "WVD3xcZjMM8HXlWlUyJFAINBqXydOKSexMMMLStHsfYtthOjolF8+4SA1oGlAi10LDn3Jz"
    "BG9oxOuA3A0K3khkZSDIkUEnEvoyHlRKbBesoRVwYR5q6GmM5QjO8WLp5OvYqE1+vbgijM"
    "sPdEys1pybO7S6wNL87ZugfW1vpO0N/xmM8jEhGsma/9DseGGBNGFN+Q5gKFB73vO7eV5C"
    "ZdkjOVJStbaokwRf2MrqjK05BzgpWQ/whg6wistWp5XMlxmSlK39n00b6RK5ITMkjPpy73"
    "69RTbMiWxPH4i8ZVFQeYf+6DjjBSFqRTzyLoKERvfIsqRuUMdxLgjVld9X1z/Zc1fwKpWP"
    "FffRbEyQ4QfB5UN7Q1CXyn+eBzhI0LqIutxKRa2HeI4stgCIgmS2GFbP57QFgzVjblt3iI"
    "AbXqoOS4eAj6Bth0dZnQHLYeoC7pnqsqX0uKfqfKsRFvI3FACaJpL6CWCxByZYDAGhgCN5"
    "CxbgUy7VTjbTrfIrqgPiryEbIAYokZcZUHVou+qMC7kgDhBw5NRhoBfgux8L8uwtmja3eQ"
    "cHrvVAqaoS5fIUEiaQ5RwiGhNKwRvGV2+nutcGRft0RWgvfmndnrc7rdvf9cEc5xp64/z3"
    "7lVLd4BjmbzfWQ57DJYPd9yqPepxE16GCg56XCihOrAPNUtQzHTMX3riVmqZbOpArvczmD"
    "AsfxA/r9lXu55+D7KcPfV/jwaYcHW4omLW5SpQlEq9nAuo9aQVHe/otsIcfLq9ubi6u2t3"
    "3oMh5AA9yaeWfasvhvjX9ZqqSvX1ENkdsvYAJFPvuyFRj+orI/VXRDY/mSR/PdqS2J4t2r"
    "zYkkzhLUJ0QtlDuXiPSGIHU/yqSaNUX6aYi+FMSm4UiV0TnGkq213K5xjkuFxNYW/yCFNH"
    "qGO8y2jLmMjuRcY1m7NkFjXzM4uaW5gptzp0q8lDNDxerFQSQEZwMzIBdioVt06JWQfqm0"
    "fMbu4A1F902VSib2WnLCZ2QjXMYHqnNJ8ezO7PliEJk9K9M+DT+D9Ja07lwCpOjVOPapsM"
    "KXpUtB7Dan9JbRFhl6tjeDAsZAqXfJWayNtSIk97OkzRppL+XJh6Q6lwQykbvaFuKoP7B2"
    "j3v7hf684xi+KiqREgzmg83ScWVB8V3K2RGEpYHpH5EgJka2IiTUzUVmxtxdZW7MxWbNtC"
    "ozGVlpw5lUOms2NTLQotWRy1VbFCpW3ZtHxvL9yX9sOdZFeEQ4/8oH3vKG8kJwMP9p0FkA"
    "0miBV+rHDp11nAni153t4i5+xtmEFb1XZTvvXal/eD2JhhnebKxzwltoObfcs/z3Pt6/D2"
    "sHnPxvmt8ZDCDUOx6m0B39TXuLiU2giSQgdB5+dKse1DucjLvbm5TrgC5+30GVefP55fSd"
    "hd1GUjLBLUQu2QvQCHbKGA2OUZtx43cjeGJtJZtvHqQrP20W1ocNWyRNqAinRUFqdrMKpr"
    "cz+UUl5AkaRcRe+rnr1yL9kLDOEj0icFLNjfkjnXO5WX8FJY16PD05OQZ1U/ipjVu4+t6+"
    "vnqVR33Mos5aHADhqglUSbWVL7ExXzWOZEkqRQHSnpr9wbotJbiGFzqNPmfk2hIodRm+c0"
    "eD64S9ajL0WFLhinm69HcyOh8zVpfih0rUtzdKl6qUog7DffQXSbM31nrVnwnbVm9jtruf"
    "l6BYcR5WbrrSAEbcvDnta6mP34B0kylo0="
)
