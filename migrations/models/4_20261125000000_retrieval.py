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
    counted_at      TIMESTAMPTZ,
    weighed_length  FLOAT8 NOT NULL DEFAULT 100
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

-- Text as its words are read. PostgreSQL takes what has slashes for a path, and what has hyphens for one word beside
-- its parts: here they are words like all others. Every character stays where it is.
CREATE FUNCTION readable(text TEXT) RETURNS TEXT LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN translate(text, '-/', '  ');

-- Where a word's weight is in a `sparsevec`. Two words in one place do no harm worth mentioning: there are half a
-- billion. This hash is the one that partitions tables, so it stays what it is.
CREATE FUNCTION word_slot(word TEXT) RETURNS BIGINT LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (hashtextextended(word, 0) & 536870911) + 1;

-- BM25's part of a chunk, k1 = 1.5 and b = 0.75: by the inverse document frequencies of a question's words, it is
-- the score.
CREATE FUNCTION word_weights(words TSVECTOR, length FLOAT8, average_length FLOAT8) RETURNS sparsevec
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT ('{' || COALESCE(string_agg(slot || ':' || weight, ','), '') || '}/536870912')::sparsevec
    FROM (
        SELECT word_slot(lexeme) AS slot, max(
            (cardinality(positions) * 2.5::float8
                / (cardinality(positions) + 1.5::float8 * (0.25 + 0.75 * length / average_length)))::float4
        ) AS weight
        FROM unnest(words) GROUP BY slot
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
    word_weights(words, counted.length, 100)
FROM (
    SELECT c.id, c.document_id, n.id AS collection_id, to_tsvector('english', readable(c.text)) AS words
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
DROP FUNCTION word_weights, word_slot, readable;
ALTER TABLE documents DROP CONSTRAINT documents_in_collection;
DROP TABLE word_counts, chunk_changes, collections;
"""


MODELS_STATE = (
"eJztXW1T27gW/iuafLntDMsQKNDL3rkzAdI2uzR0IO3d3bbjCFtJNDhSVpIJubv97yv5/U"
    "U2cRKHJPhLSyQd2X6OfHT06Bz5r8aYWsjm+xcjh9w3zsBfDQLHSP6RrNgDDTiZRMWqQMA7"
    "221pqiZuEbzjgkFTyNIBtDmSRRbiJsMTgSlRbfsCPYo+wBz0v5ojyAwuIBNn7p+IWN/7gA"
    "6AGCEwgYwjC6jmqggLDixqOmNExL+k8ANiXHbZ31eXlRXyupgMK7nCN/KNdGTlAzIFZQAS"
    "y207pcziwMYIYAJcLLjfM2aATske6LvAGJ4c77uSfpkr3D8DEHAEmTkCdzMl+Y1QguRdyK"
    "4IFWAEHxAQFDAELfeWqfyHuY/sEPyngwxBh0iVyQf/+l0WY2KhR8SDn5N7Y4CRbSUUiy3V"
    "gVtuiNnELTvHww4R79y2CtA7w6S2MyZR+8lMjCgJBTARqnSICGJQIHUFwRylcOLYtj8ygj"
    "Hg3WzUxLvLmIyFBtCx1bBR0t4NRGUNw+he94zbds8wGpkhFUjExoBfZFKihqO8Ve4CMFS3"
    "8NO/Dw+Pjk4PD45O3h6/OT09fnvwVrZ17zdbdfrDu5kILa8rF7PO+063p26IyjHvvQqq4I"
    "crAwX0pFxlROj7wyqrglz8YxJPKyGAvEgLQUGkhuhlXZ8eDptvTt+8PTp5E8IflhShHiAc"
    "ISpfJUygXQLRmESNqAbRIZxk0exJO6mH02+eglLeYFVQNhoVAVmAUq/9m/uujzn/01YF3S"
    "+tm4sPrZtXH1u/vXZrZn7N1XX3fdA8Mg3di6vr8xTQau4pg3TQfn1QVzhq1w125AyUMBVJ"
    "odpaaKxF4FmVRdUXqTHVYDqBssP58QyaL4Sl74PtKpQj6TzL6/EsnC3G4EwPaFwoBaqNeW"
    "UjtPGfgUNMhRi4c7AtMOH76nr/faYJ7+v39IRF7xGRODmkjBFNSdVvvGaYBktPQ7c8+/y5"
    "c6mHNiWWgtZxsLWvhLcQ4AL0XE/g6MR1BCaUiyFzK12YJKxq5Tu4166+AriyEL+jDOEh+R"
    "V5FqEj7wUSU2dVfWLkMtbVdkIblUazAIPTkDJIDy6JgXxyJFwULlq3F63LdsNF+w6a91PI"
    "LCMBu6qhhzRVErbNVo0Px+kSSOTUZvlPou47oKWobSPTf/AsaRXV7hUyV2G7OemrFmB0qg"
    "iffky0/zMYQwuB6QgRl6YZYMZFSCYBk44R3wOUKZZHUUccCaFmlyx5VUH/SzBF7v+ZN+VC"
    "Om96YxS0X83y5HnJojF8NGxEhmKkbPrBQYE5CtYmstXr1DLErzr06oqZIZ3hfymk3MqmUR"
    "uSoaN1nvOHbVxmjSSGHFzStxtV5dolR/DJ0RwD+OQod/yqqvSyTxHZrmun8a0Lln5JsXrJ"
    "omE0HxCz4aQ8uFnBGl4NYcGQenYDatzAS1kj8BjlDN6EZApbyxfdD/5Yq2fYpdNXrytaCX"
    "Y+tm97rY+fEpTcZavXVjWHCTouKH11kjIlYSfgf53eB6B+gj+uu+20Dx+26/3RUPcEHUEN"
    "QqcGtOJoBMVBUXItpbxU+bALaDglugIVb9jLtEt6jjae59/NjGTWR0McVGsY17KjmeB7iV"
    "yTGYuhn5attbCgFhSbtqgWMrK1FpbTghvPsZgSQtFaB8vpYAF3LiFZz/WbPNdPER6OpK78"
    "FW1G0+9sCnPetKxoStUDJVvVy9Y8qOp1K1Dv5fXn86s2+HTTvujcdq67SX26lapIFmCPzr"
    "1pt6501PnzsLsht67hduO8ez6zG5CjpXndULC/D4JNAA4gQ4ATOOEjKvgZoMR24/XAWK64"
    "ObhDtpT2fBu3WHZWxO2u9BorjgTM32pa/Q7T08xjbENUXclwBJZDwKTjCRT7quT0ObZGn9"
    "h/2isgec3EzsS8DGVSao0cZfBnVQ5DVSx7BDh6FIgRaGv3VfMRT4ktBPmGeQNJsJsHh2/m"
    "QFs1y4Xbq0zivSXxrc1qXeCVcZUCC1uzmVEQIhgI7MKQXXeIIKcOM5FRdt8zJbYLyK/HWI"
    "yRhaEHVAm4k1I7EQubmgiPj+eZCI+P8ydCVZca2yN4eHxSaliHEjuI8ck8A/okfzifZAYz"
    "x/9Hxt1MoJJEUFJul4Lj1k4EEaGile7RrJxznRDbPetdiTkZIwHVKieL9C+31908wx3JpN"
    "k2bArwN1h3cK267HOsIBVGxd5L2lHZSy41VQcZ70VA4WiMT4GFDyXWuKb81O5edrrv17Om"
    "bM6zpGzmryibmQWlxKxceFEosDbL0pBNHWRtK8ITRtUw54Z8aA2nn490RnD3bHmFaFuUlM"
    "o5ScvVoUaaPJ4AJEFFqRTVrGANrxZeU4Kk4nUQY5RpJr98pkQrvAsWY92siYteGT8wFFjK"
    "Cdwe1Cvx9qaQEX1eWz7wcZnNcMCfK7utEpVAIdB4UiYzLiaxM+EfK7PuA4hth+nolFw84y"
    "I1oGlAiZwLDX/ILRAuoxGvQ6A3NFzGRpAjg04l9GVWUCmxXfCG1sCFeaihxwmWGlzgxdLJ"
    "19Fom/x6cUUYl1d0TKy2nJurWl0ob/72TdC+9jfS/ob/DEb5mBCNZM1/aHa8sECasKb8BW"
    "AoUK+8F1/meSmsZQ9BSUnV1qJOy3xhM6szsRZUcFKyVvCGKljFZavzYRbLxUnK1uufTdN0"
    "idyQOVJ0fbl3v94gG+ZEtqePoN6yKKi8Y5Z0nPGSELUiHnkXQULjO2RZ0jaoA1CXhKrt99"
    "Xzz1LdFbxK5WPF12g2Jsjwg+Dyob0mqEflP08DHCRoXURdbqWh1kO8QBZbAERBMlsMq6dz"
    "2gJlzZnb1hsh4IaXquPpIeBjaNvh4WFnwHKYuoB7ir1sKVfcM3Wi2BgL+RsKAE0TSfsEsN"
    "gDUyxGgFDAkbwFC/AZl2Ynm+lW+RXVkfxXkA0RA5TIywypOiZfdcaFnBCHCDhy6DDQD/Dd"
    "jwV59pdNm9u8oxqf9QivqhLl8gwSJpDlHNsaE0rBG8ZXb6e51wZF+3RF6C9+ad2cd7qtm9"
    "/1wRznGnrj/Pdeu7Vs3u88x2sG04ert2oP19yEl6GCozWXSqgO/EPNFBRzHfOnnriXWiab"
    "OpDr/wymDMsfxM9r9s2uZ9+DLGfP/N+hISZcHWepmHU5CxSlUq/mAmo+aUUHarqtMAefbq"
    "4v2re3ne57MIIcoEf51LJv9Y0W/7peU1Wpvtciu0PWHoBk5n2pJepRfdel/m7L5ieT5M9H"
    "WxLbs0WbF1uSKbxFiE4puy8X7xFJ7GCKXzVplOpbIAsxnEnJjSKxa4IzTWW7U/kCSo7L1R"
    "T2JmuYOkIdnF7GWsZEdi8yrtmcJ7OomZ9Z1NzCTLn1oVtNHqLh8WKlkgAygpuRCbBTqbh1"
    "SsxzoL55xOzmKqD+hs6mEn1rO2UxsROqYQbTO6X59GB2f7YMSZiU7p8Bn8b/SXpzKgdWcW"
    "qcelTbdETRg6L1GFb7S2qLCLtcHcPDUSFTuOKr1ETelhJ52tNhijaV9OfC1BtKhRtK2egN"
    "dVMZ3D9Ae/DF/T56jlsUF01pgDjjyWyfWFB9xnG3NDGSsDwg8yUEyNbERJqYqL3Y2outvd"
    "i5vdiOhcYTKj05cyZVpvNjUy0KPVkctVWxQqV92bR8fy/cl/bDnWRXhEOP/KAD7yhvJAcD"
    "D/adBZANpogVfh5y5ddZwp8ted7eMufsbZhDW9V2U773OpD3g9iEYZ3lysc8JbaDm32rP8"
    "/z2efh7WHznozze8ZDCjcMxaq3BXxXX7PEpdRGkBQuEHTrXCm2fSgXrXKvr68SS4HzTvqM"
    "q88fz9sSdhf16BMpLyRjsV6QlUx2qtK59biR2wk0kc6zjVcXurUPbkODq5Yl0gZUpKPyOF"
    "2HUV2b+6GU8gKKJOUqel/17JV7yV5gBB+QPilgyf5WzLneqryEl8K6Hh2enoQ8q/pRxKze"
    "fmxdXT1Npbp6KzOVhwI76IBWEm1mSetPVMxjmRNJkkJ1pKQ/c2+ISW8hhs2Rzpr7NYWGHE"
    "ZtnrLg+eCu2I6+FBO6ZJxuvh3NjYTOt6T5odC1Lc2xpeqlKoGw33wH0W3O9Z21ZsF31prZ"
    "76zl5usVHEaUm623hhC0LQ97etbJ7Mc/xJQM7g=="
)
