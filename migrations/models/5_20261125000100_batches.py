from tortoise import BaseDBAsyncClient

RUN_IN_TRANSACTION = True


async def upgrade(db: BaseDBAsyncClient) -> str:
    # Hand-written where aerich is blind: defaults of the database, uniqueness, partial indexes.
    return """
-- Whether title and metadata come from a PATCH: then an update that has none of its own leaves them.
ALTER TABLE documents
    ADD patched_title BOOL NOT NULL DEFAULT FALSE,
    ADD patched_metadata BOOL NOT NULL DEFAULT FALSE;

CREATE TABLE batches (
    id         UUID PRIMARY KEY,
    created_at TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP,
    touched_at TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP,
    closed_at  TIMESTAMPTZ,
    error      JSONB
);
CREATE INDEX batches_by_end ON batches (closed_at);

-- An item tells what was done, also when its document is gone.
CREATE TABLE batch_items (
    id          BIGSERIAL PRIMARY KEY,
    batch_id    UUID NOT NULL REFERENCES batches (id) ON DELETE CASCADE,
    index       INT NOT NULL,
    name        TEXT,
    document_id UUID REFERENCES documents (id) ON DELETE SET NULL,
    created     BOOL NOT NULL,
    error       JSONB,
    CONSTRAINT batch_items_in_order UNIQUE (batch_id, index)
);
CREATE INDEX batch_items_by_document ON batch_items (document_id) WHERE document_id IS NOT NULL;

-- Lists, newest first.
-- An expression, so that nobody takes this index for the one that finds a single document: while statistics are
-- old, that looks as good, and reads the whole collection.
CREATE INDEX documents_by_collection ON documents ((collection || ''), created_at, id);
CREATE INDEX documents_by_media_type ON documents (media_type, created_at, id);
CREATE INDEX documents_by_error ON documents ((error->>'code'), created_at, id) WHERE status = 'FAILED';
"""


async def downgrade(db: BaseDBAsyncClient) -> str:
    return """
DROP INDEX documents_by_collection, documents_by_media_type, documents_by_error;
DROP TABLE batch_items, batches;
ALTER TABLE documents DROP COLUMN patched_title, DROP COLUMN patched_metadata;
"""


MODELS_STATE = (
"eJztXW1z2zYS/isYfblkxvX4JbZz6c3NyI6bqnXkTKzk2iYdCiJhiWMKUAHQsq6X/34A+E"
    "6CtCiJFKXwS2KBWJB8FlzsLnYXf3emxEIOO7yauPih8wb83cFwisQfyQsHoANns6hZNnA4"
    "clRPU3ZRTXDEOIUmF6330GFINFmImdSecZtg2XfI0RMfApuB4RdzAqnBOKT8jfoTYevPIS"
    "D3gE8QmEHKkAVkd9lkcwYsYrpThPk/BPEjokwMOTyUtxUXxH1tPK7kDl/xV9wTFx+RyQkF"
    "EFuq75xQiwHHRsDGQGHB/JFtCsgcH4ChAsbw6NhQUfptinj4BkDAEKTmBIwWkvIrJhiJpx"
    "BDYcLBBD4iwAmgCFrqkYn4h6pXdrH9l4sMTsZItokX//KnaLaxhZ4QC37OHox7GzlWgrG2"
    "JQdQ7QZfzFTbpT3uYf6T6isBHRkmcdwpjvrPFnxCcEhgYy5bxwgjCjmSd+DUlQzHruP4My"
    "OYA97DRl28p4zRWOgeuo6cNpLae4CorWMY/duBcXc9MIxOZkoFFLE54DeZBMvpKB6VKQDG"
    "8hF++OfJyenpxcnR6fnrs1cXF2evj16Lvup5s5cuvnkPE6HlDaUw673r9QfygYiY896nIB"
    "u+KRrIoUelmBGh70+rLAty8Y9RPM+EAPIiLgQNERuij7U+Ppwcv7p49fr0/FUIf9hShHqA"
    "cISo+JRsDJ0SiMYoWkQ1iI7hLIvmQMhJPZx+9xSU4gGrgrLTqQjIApQG17+pb33K2F+ObO"
    "h/7n68+rn78cX77m8v1ZWFf+Xmtv8u6B6Jhv7Vze1lCmi59pRBOuhfH9QVztq6wY6UgRKi"
    "IknUSguNtAg0q7Ko+iQtphpMZ1AMuDyeQfeVsPR1sH2FciKUZ3E/loWzSylc6AGNE6VAdW"
    "xW2Qzt/OvexaZEDIxc2+E2Zofyfv/e0oL35c/0gkUeEBY4ubiMEE1RtV+8ZpoGpqehM88+"
    "feq91UObIktB67q2dSiJdxDgAvSUJnB6rhSBGWF8TNVFBZOAVVq+9w9a6yuAKwvxT4Qie4"
    "x/RZ5E6IlngdjUSVXfMfI2NtRuQhu1RqsAhfPQZZCeXAID8eaIKxSuundX3bfXHYX2CJoP"
    "c0gtIwG7vEJOSKol7Ju9ND2ZplsgFkub5b+JfO7ALUUcB5n+i2edVtHVg0LPVdhvSfdVF1"
    "Aylw6fYYx0+COYQguB+QRh5aa5tynjoTMJmGSK2AEgVHp5pOuIIc7l6pJ1XlUw/hqeIvV/"
    "5ku5EsqbXhgF/TdjnmzXWTSFT4aD8JhPpEw/OioQR4FtInq9TJkh/qUT71qxZ0gn+L8Xp9"
    "zGllEH4rGrVZ7zp22cpkYnhphcQrebVKXaJWfw+ekSE/j8NHf+yktps086spVqp9GtC0y/"
    "JFlrsmg8mo+IOnBWHtwsYQuvxmFBkXx3A2rUwLfiCrenKGfyJihT2Fo+6WHwR62aYZ/MX7"
    "ysyBLsvb++G3Tff0i45N52B9fyyknCHRe0vjhPiZJwEPCf3uBnIH+CP27712kdPuw3+KMj"
    "nwm6nBiYzA1oxdEImoOmpC0ltVTxsitwOEW6ARY37GPaJz5HG8/L72ZGNPW5IY6qFYy17G"
    "gm/L1Y2GTGauinaVsurMgF6U1blQsZ2pYL63FBxXOsxoSQtOXBejxYQZ1LULZrfdPW+owj"
    "dzu+xtDTq/E0xr3A+X7GwFVX2ssYEg4PQeCSZgBSBBiGMzYhnL0BBDsqegxMhf3HwAg5gt"
    "pbaVWzGKzI07jRe2w4Li1/42Pz+x3P+8Fi23PyTobLbTEFTDKdQX4oWy62sVH3zG7IQYHL"
    "0Uz4yZf1lyWpavSYBX9WtXxV5fONAEdPHFEMHe0uXz7iKbKVIG/Y2pQE+/jo5NUSaMtuuX"
    "B7F5N470i05XG1CtnGPGfc5o7GtV4QsBYQ7MOUrTtgjRGXmsgouwuXItsH5OsRFlNk2dAD"
    "qgTcSaq9iMxMLYRnZ8sshGdn+QuhvJaa2xN4cnZealqHFHuI8fkyE/o8fzqfZyYzs/+LjN"
    "GCo5JuiSTdPoVq1e6WwFzGzjygRTnlOkG2f9K7EnEyRRxKKyeL9C93t/08wR3RpH0/tsnB"
    "/0DdoZ7yttuwICVGxdpLWlE5SJqacoC09iJsYnOCxK30OuMlIQ6COC+eOUWb4s9IEFfFmL"
    "ClXh5c3t7eJHhw2UuriJ/eX14LtUYxRHSyeY7kCdDL/yiWAr/g+2jxL8KfcchdzbJboNuE"
    "FDV6Uz5c99/2+u/q8aYcL+NMOc73pRxnXCkCs3JhXiFBbWtqR3R1kbWrCM8okQKeGeKlNX"
    "sr+UhnCPdPi6kQbYvgUrk/abo25EuzJAYgccJLpQpnCVt4tfCaAiQZN4UoJVSz+OX7CLXE"
    "+yAx6vYXKvTKWEAhwVrmz+6gXomdM4cU6/ML84GP0zTD9NxWlmElLIGco+msTIZijGJvwn"
    "A2Jt3voe24VOdIzMUzTtICmgYUi7XQ8KfcCmFLGvI2FL1BYUuJfCQEGTLIXEBfxoJKke2D"
    "NlSDF9hDDT3NbMHBFT4sHX0bFdjkz4vJrZLyjI6RtZKzuazVhVTnb1wG/Vt9I61v+O9glI"
    "+G0lC2/g/NXq/NkSagL98ADAlay3t1M89LJS5bjCZF1UqLNj32O1tZ3Zm1IoOTlC2DG8pg"
    "mZEg6/SslhOVpG3tn6ZxukRW1BKp0j7dT79+RA7MyelIlwLfsfi/vHJXOp/xmhB1Iz/yPo"
    "I0kqFBhtBdp2vidCkH6olxdlZ8FAOFpiNkWTKCDT2tO6eu/bEGfvHffZlYpVI248asY2Nk"
    "+HGy+dDeYjQg4p/nAQ5yOK+iIfdkSq6Y6BoAUZDvGsPq+bTXgFlLpr8OJgioCHR5ngIEbA"
    "odJ6x29wZYLpU3UMcuiJ6PiC5kCbypzcVvyAE0TSQEObD5AZjbfAIwAQyJR7AAWzAhc7LJ"
    "sJXfUZ4hcQPpGFFAsLjNmMhzHeRgjAvNYYyAK6YOBcMA38NYHPhw3cza5tUW3WrNuapyaf"
    "MEko0hzakzHCNKh9gGKRi7Ke61Iba+XydUrD93P172+t2Pv+ujXi41fqDL3wfXXV2N1zKl"
    "AZapBxssH4pv1VaDbcLHUEEt2LVqLgSKtGYJiunY+UtPXJ0vU3AhoBv+CObUFj+wX/rAF7"
    "uefA8KIXjif4TGNmay/qrcghCrQFG1hc3cQK4n3agCrOplM/Dh4+3V9d1dr/8OTCAD6Em8"
    "tRhbHirk39frKi/KA4bEcMg6ABAvvKOFohHlQUTtQUPNzzfLX492JAhqh3Z5dqSYwA4hOi"
    "f0oVxgTESxh1nA1WRay8NrVnIFJykb5e1vPcFpn79ayldgcpyu9fU3mcPE5bLSfxlpGSPZ"
    "vxDC4+NlUrCO81OwjncwpbA+dKtJ2DQ8v1ipbIkMYTNSJvYqW7/NHdoG6s1zzDaXAe2hT0"
    "119NVWiFXtGnc0LkHvwkGRQ1BtXaPS/kCfLDyCSTrn5BFL3hFMaie8yNu3LPn3VDZVVUp9"
    "tWuVUtugyFJQ75x1xYmrqt6UZ3CSsmVwQxlsOoSt9gHHCVsXSZN53Foxz3B0Y1bMSkGoNQ"
    "cO7ooGXi4SbhWdWQGWpzcHaD6jO0dhn6X1Z49UHi/AgbCwFsw7ylQqwuGGsy3+VnaG5cVQ"
    "EZc/s5O+iaHb3e0d3d1W755lQHEi43IM2AFJsvGCFNoS4/klm/aptnjdVZp8e1AjPIqKcs"
    "aoaqzFuaU4wc2V4mwVwroUQk2aSCnHVJymdWg3bZ9gdyb06tsEo8CJvOYeQeiM3s2p+uwG"
    "QfxL1e8O6KZuvZsvzZyva+29iGcA/U83N9vafEmkoWlsyXSaWr45mU2OK2NRJqmHb4CfQ/"
    "EDtCxZqVVaeYx4cc7zCUGPMqaa2jK5R+bn2MoepPZ4UmhcbvgurZ25o3am9vSOoowe/bkd"
    "bTZPYTZPNnVWPlQG95+hc/8ZmZzkHZMXJ01xALvT2eIQW5BSuNgvTkwELI/I/B7KuLRbHu"
    "ktj62bBjvE3DaEaPtq7JZDiHoWms6I0OTMhWCZTo9N9SjUZO2or0zULq3LpumHB2FSoJ9r"
    "LobCDHrBM+TeO2oZicnAgqQ/DkSHOaKFYUgbv88a+mzJ89DWOQetYQptVbk++drrvXgeRG"
    "fU1kmufMxTZHuYabX58xa3vg430+WxpuOz9qO0GoZi1TkZW9qMahjK9exFtQbZKgzYCYNs"
    "rWokm1NuPd/I3QyaSKfZxi8XqrWPqqPBZM8SNZtkmQmpcSqFUd6b+XUsxA2kk5TJ0klyZK"
    "/dK0kIJvAR6SsyrTnehn2ud7Io1PfidT09uTgP/azyR5Fn9e599+bmeVeq4luZpTwk2EMF"
    "tJJUf0tIfywLTpSpm58kasOj/JW7ISK9i6itz3nyrxQKchj1eU6C54O7YTn6vYjQNYPz8u"
    "VobhmafEmaX4emlaU5slR+VCUQ9rvvIbrHR8tZnUVmZ9buzCuWWHBkRm6pxBry/3c8OG+r"
    "i9m3/wO6wRtH"
)
