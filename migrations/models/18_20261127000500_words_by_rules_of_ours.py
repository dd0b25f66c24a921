from tortoise import BaseDBAsyncClient

RUN_IN_TRANSACTION = True


async def upgrade(db: BaseDBAsyncClient) -> str:
    # Hand-written: words are read by the workers, by rules of ours. What was read before is read anew by them, in the
    # background: the index holds what they still have to do.
    return """
ALTER TABLE chunk_words ADD COLUMN rules SMALLINT NOT NULL DEFAULT 1;
CREATE INDEX chunk_words_outdated ON chunk_words (chunk_id) WHERE rules < 2;
DROP FUNCTION passage_words;
"""


async def downgrade(db: BaseDBAsyncClient) -> str:
    # With the words that they would have had.
    return """
CREATE FUNCTION passage_words(language REGCONFIG, text TEXT, headings TEXT[], title TEXT) RETURNS TSVECTOR
LANGUAGE sql STABLE PARALLEL SAFE
RETURN to_tsvector(language, readable(concat_ws(' ', text, array_to_string(headings, ' '), title)));

UPDATE chunk_words AS w SET words = read.words || array_to_tsvector(ARRAY['=' || n.id]), length = counted.length,
    weights = word_weights(read.words, counted.length, n.weighed_length)
FROM chunks AS c JOIN documents AS d ON d.id = c.document_id JOIN collections AS n ON n.name = d.collection,
    LATERAL (
        SELECT passage_words(
            n.language::regconfig, c.text, c.headings, CASE WHEN c.ordinal = 0 THEN d.cited ->> 'title' END
        ) AS words
    ) AS read,
    LATERAL (SELECT COALESCE(sum(cardinality(positions)), 0) AS length FROM unnest(read.words)) AS counted
WHERE c.id = w.chunk_id AND w.rules > 1;
DROP INDEX chunk_words_outdated;
ALTER TABLE chunk_words DROP COLUMN rules;
"""


MODELS_STATE = (
    "eJztXe1zozYa/1c0/nLtTJqJk02yl97cjJN4t26zzk6S7fV1sAyKzQRLrhBxfL3+7yeJF/"
    "MisLENBsqX3VjoEfB7hPS868/OjBjIso9vpg5+6VyBPzsYzhD/I3rhCHTgfL5qFg0Mji3Z"
    "UxddZBMc24xCnfHWZ2jZiDcZyNapOWcmwaLviKE3NgKmDUa/6lNINZtByq7knwgbv48AeQ"
    "ZsisAcUhsZQHQXTSazgUF0Z4Yw+wcnfkXU5kOOjsVt+QV+XxNPCrnDb/g3POAXX5HOCAUQ"
    "G7LvglDDBpaJgImBxML2RjYpIAt8BEYSGM2ls0eS0muTxKMrAIGNINWnYLwUlL9hghF/Cj"
    "4UJgxM4SsCjACKoCEfmfB/qHxlB5t/OEhjZIJEG3/xX3/nzSY20Buy/Z/zF+3ZRJYRYaxp"
    "iAFku8aWc9l2bU4GmH2QfQWgY00nljPDq/7zJZsSHBCYmInWCcKIQobEHRh1BMOxY1nezP"
    "DngPuwqy7uU4ZoDPQMHUtMG0HtPsCqraNpw/sn7bH/pGmdxJTyKUJzwGvSCRbTkT+qLQGY"
    "iEf45p+np2dnl6cnZxfvz99dXp6/P3nP+8rnTV66/Mt9mBVa7lASs8HHwfBJPBDhc979FE"
    "TDX5IGMuhSSWas0PemVZIFqfiHKNYzwYc8iwt+w4oNq4+1PD6cdt9dvnt/dvEugD9oyULd"
    "R3iFKP+UTAytHIiGKFpEFYhO4DyJ5hNfJ9Vwet1jUPIHLArKTqcgIDNQeur/JL/1mW3/YY"
    "mG4Y+9h5vveg9ffer99LW8svSu3N0PP/rdV0vD8Obu/joGtNh78iDt9y8P6gJnbdlgr4SB"
    "HEtFlKhdLRSrhS9Z5UXVI2kxVWA6h3zAzfH0u2+FpSeDNRnKnNMzTNJCmoR0yvURfj87CW"
    "mPUrhUgxomioFqmXZhH33nX88O1gViYOyYFjOxfSzu9+8DyRC//h6XAcgLwhwnB+fZl2JU"
    "7SKqmKa+Nq+pNN4vXwa3amhjZDFoHcc0jgVxDQHOQE8KV2cXUraaE5tNqLwoYeKwCmPC84"
    "tSofXhSkL8gVBkTvAPyF0RBvxZINZVG5Vna7oNDVVPaFetq12AwkVghYlPLo4Bf3PEJAo3"
    "vceb3m2/I9EeQ/1lAamhRWAXV8gpibUEfZOXZqezeAvEfHszvDcRzx1HX2EFDHMm3RDov9"
    "yGtsAeoGQhrGejgHB0DPxpYgNIEbAxnNtTwuwrQLAljWRgRl751TGyODWXJPEEyWY+WNIa"
    "WNA99mx+S1+M9r8GrbfBhbZMcSfNYSafAjqZzSE7Fi2Xh9g816xQRxk2Nw6nheQLJaG/4a"
    "pIipISoSrRuuH/WdQ2O4NvmoXwhE3F3npykgG6r3bzXl/HNGzv0ql7LbrzojeGKIaWcudN"
    "RzxGthXkVRO9I2B3T07fbYC26JYKt3sxindNjMrdmgiOzGSWQv3OsMv5BE2YsmXb5WziUB"
    "1p8meOxSJG1gTky1ksZsgwoQtUDrijVI0wQMc2wvPzTTbC8/P0jVBci83tKTw9v8g1rQOK"
    "BmJ8scmEvkifzheJyWyb/0XaeMmQwhiV5dSO0jXJfFKKfzssW2Mm9NkXtMwnXEfImrd6F7"
    "KczBCDQstJIv394/0wbeFe0cRgNkydgf+Bss2v4raH0CAFRtnSS1xQOYqqmmKAuPTCdWJ9"
    "ivit1DLjNSEWgjjNzxCjjfFnzImLYkzQUi4Pru/v7yI8uB7ERcQvn677XKyRDOGdTJay8v"
    "jopX8UG4Gf8X20+GfhbzPIHMW2myHbBBQlWlM+94e3g+HHcqwp3U2MKd10W0o3YUrhmKlc"
    "wZkgK53Bxe2pHd7VQUZdEZ5TIhZ4W+MvrfBipCOdIGyeFFMg2gbBuUIc4nStY16xJfogMc"
    "JyRUQmCVt4lfDqHCR+Sw1RSqhi80u3ESqJm7BilG0vlOjl0YACgp3Un/qgXoies4AUq2N+"
    "0oEP01RD9TxU5E8hLIGModk8T9RQiKI8k9dJTVb3Z2haDlUZElPxDJO0gMYBxXwv1Lwpx/"
    "9P4nrLgWHmDKnBVZDHFxGP/tj/o1Sr7ZAsvvq6oH1z8Kn/+NT79DmyZtz2nvriymlk4/Rb"
    "v7qIrSPBIOA/g6fvgPgJfrkf9uNLS9Dv6ZeOeCboMKJhstCgEUbDb/aboh5Thyq8z1kGeJ"
    "+iMZ9NyXZ3C0EbaWTBccqjs8bImiB/lmB3d1FDb3OTfzNbLGUq+j2sZRVjRJMWNFs4p/Iz"
    "OkTW7lXVZa2RR8gL+jdmq9qbhOe9g5Y//kxB2VqcFN51kyFFCGW6yh0QtLaO7RVrt0ZD3p"
    "ScGFW7WiQchnOoI2VI8OMMWlb6Ahyia9AicXZ6eRFAKn5kofn4qXd3l4SUIjQb82V0VwE1"
    "a5xWUK2yNKNTJHDfgudRylZcrSiDnbmxJYOjlC2DK8pgkVglUgC3+oZjtO1aXTVOJzJn05"
    "M7YwKoKqLZo/vwwwOyYEpqWrxwW83CmNMyaVWurx0h6q3cYU0EaSwiHDWuEM52xOlaDDTg"
    "49R2+cgGSsq+hgjERW+7zqm+N9aTV6qpKRMrV+Z52EJkmRhpXrh/OrT3GD0R/s96gP1U9J"
    "vVkA2Zklvm6/tAZKTth7Ban73vM2vDLP6nKQIykUZUv4TAFqp8UEjzChgOFTeQRTJ5z1dE"
    "l4BLLTOT8d+QAajriC/kwGRHYGGyKcAE2Ig/ggHspc3XnGROf+F3FBU/7yCdIAoI5reZEF"
    "GFUwxmMy45TBBw+NShYOTjexxKZxntWiCgemVLDlq2s6iSAGkLkokhTSlhFCKKZwr4mWT1"
    "XO6VbmjPWBoI1j/2Hq4Hw97Dz+rgvWuFcfX656d+T1U+Jk+Fk01Kzfjbh+RbsYVmqvAxFF"
    "BmZqfSMb4grdiCQjJ2+tYTFufz1I3x6UbfggU1+Q/sVXDxll13fffrubjL/xhNTMy3DgqE"
    "X4/vAllFY/ZzA7Gf9IIdyu1l2uDzw/1N//FxMPwIptAG6I2/NR9blID27ut2FRdFOWg+HD"
    "KOAMRLtxD0akRRNrotC1398J30/agmsZw1cp3WpCZKjRBdEPqSL9psRdHAYgbFFIwQpYa3"
    "MgVHKStl7W8twXGbv9zKt2BymK619VeZw8RhOslX0ShE0ry43G53k0zSbnomabeGmdHloV"
    "tM3rnm2sVyJX0lCKuR+dWooiNtCuQhUK+eYba6DGjrSVfV0FdaPWnpNe4oTILuhaMsg6B0"
    "XaPc9kCPbPQtmEEDucY5cVbbs0ltBqQnPMvatyn536n6syz4/K5uBZ/boMhcUNdOu2LEkc"
    "W78jM4StkyuKIM1i1ib/cBhwlbE0mVedxqMWs4WogWwzc4V/qKop5xclNAsd2xTfXBOzif"
    "aaug3ZIDLeuiseSLHNxGx5CApekZPpprdI1VmGxufcMlFafKMMA10qUNFlOEI+dJC2+/q5"
    "cZbswZcdiayIN9DN1GA9Q0GkC+e5IB2dnUmzGgBivJ3usQKU+WSK/U16QjJdbsdtnSxTaH"
    "7Lr6s2LxyKrFHKIqsQTzgeIq91eBuRWg12BdiADt7cy5DHlhmtYBUDW/Sn0m9PZulbFvdN"
    "/RpxIY7+s5Vdc6VMJfqtqbopq65Tqrqjlfd/JV8WcAwy93d4dyVkXS9hS6ZDytL12dTCYT"
    "5tEoo9SjK+DlnHwDDUMU6BZank3cuPDFlKBXEYNOTZEMJfKZTKkPUnMyzVQu93yXVs+sqZ"
    "6pPLQpKwNKfVxTm/2Umf2UTDUWD5XA/TtoPf+IdEbSTkcNk8Y4gJ3ZfHmMDSisuM3ixJTD"
    "8op0tZ7ZLA9v6yKKu4gOrhrUiLltyNXhxdgDh1wNDDSbEy7J6UvOMpUcG+uRKcmaq74isT"
    "23LBunHx0FSZRebj4fCtvQDTYiz7KJIj4ZbD9JkgHeYYFoZtjW3u+zgzyb8xjMXY6/rJhA"
    "W1RuVLr0+syfB9E5NVUrVzrmMbIGZqbt/5jdg+/D1TR57Gj4LP0ExYqhWHQOy4GcURVDuR"
    "xfVKuQbcOAWihkO1Vv2Z9we0MsC+ke+AnBNnQ1U6jVg3655dkQaZAiIMJxhDjppggEQTki"
    "j9M+EjVAxksZrmMjxsRRaFly7N7G30F+VcdKpG9IO8VKVFqCPdlkO+K90iXYk5N1EqxKmv"
    "q7mL73Ft5jQTxxcqYCh2lKPIuaTy7LtKedcrSAs020gLN0LeAsIU/JEw4YeUE4zwEqcbIG"
    "1fDf2yQmr4hacJ4f3CRhC2979MQaXPdx9IQ8nnFbXBPELbixJI3A26fZpmdxz6NUKQdo06"
    "Gqplql8Tx3ZKeSuI3y3D7K02bQQtqr9Mfb232DKUO0X2GVv8JG2rHazOKQK0M4a8UymZ/D"
    "MdL2Q64yn1PPUMmILlzRNOb0vpKPpdanEE/4Irgd+nHalgtbckEcQrktFxK0LRd248KCUF"
    "UJvU2YEJC2PNiNB9scrRambPf6Ku/1C2ROpvL4Umn7TnD6g0VgypeWJI2x+lnQFvWxdU+K"
    "+twy2Ht7/+X6rg8+P/RvBo8DT3cO+CkviqaVt/+h37vb9RSP/fmB3Rj5R2E87CgcweHLR1"
    "meYFcxd62QuX3BEeLRFYBA3uFIpMvY4tAhqfQDHWIwRsJdO4cUGW5JOVFOxTvBAWIjOINI"
    "tmQ6iIu96Z6zeLINwDtYfSvpzdze6JvuHfaytHJV3A/TNDCysXuxSYxYfCsKxYhdxH2a8g"
    "vKg3BA0EB4CznSwODiEbb9gJsN3ZpRorasiSfaVmQL7iFqqmu7elcyN1646rNux00Hd8+7"
    "VRt1s5FHPX2zSj1uJ30lTT9vp11LU9ZS8VHlQNjr3kB0uxuF53UzwvO6J8l48bRDIdP9ru"
    "lHQpZwzkHN3a0H3cz++j9vHwu5"
)
