from tortoise import BaseDBAsyncClient

RUN_IN_TRANSACTION = True


async def upgrade(db: BaseDBAsyncClient) -> str:
    # What was indexed before is cited by what its row says now.
    return """
ALTER TABLE documents ADD cited JSONB;
UPDATE documents
SET cited = jsonb_build_object('title', title, 'source_name', source_name, 'metadata', metadata)
WHERE indexed_version IS NOT NULL;
ALTER TABLE documents
    ADD CONSTRAINT documents_cited_when_indexed CHECK ((indexed_version IS NULL) = (cited IS NULL));
"""


async def downgrade(db: BaseDBAsyncClient) -> str:
    return """
ALTER TABLE documents DROP COLUMN cited;
"""


MODELS_STATE = (
    "eJztXOty2jgUfhUNf7ad6TKBJKSb2dkZcmnLNiGdhnZ7HUexFdDEllxJDmG7efeVjG1sWX"
    "YwCQQof9og6ZPkT/K5Scc/ax51kMvrh4OAXNf2wc8agR6Sf2QrXoAa9P1JsSoQ8NINW9qq"
    "SVgEL7lg0Bay9Aq6HMkiB3GbYV9gSlTbC4FuxQXAHFx8tQeQWVxAJvbDPxFxvl8AegXEAA"
    "EfMo4coJqrIiw4cKgdeIiI3yT4BjEuu7yoq2FlhRwXk/7cRggI/hEgS9A+klAmx/n6XRZj"
    "4qBbxOOf/rV1hZHrZHjEjuogLLfEyA/LDnC/Q8SrsK2a/6VlUzfwyKS9PxIDShIAJkKV9h"
    "FBDAqkRhAsUPySwHWjhYgpH0920mQ8yxTGQVcwcNUqKfR4ApOymmV1z3rW+XHPsmq5FYwR"
    "KcqjIpsStfpyqjwkoK+m8Psfzeb29l5za7v1cndnb2/35dZL2Tacb75q7248mQlb465Czj"
    "qvO92emhCVW2y881TBXYiBAo5R4WJM2I9WMb8EhfynEPcvQkx52SrEBZNlmLwbi1uHZmNn"
    "b+fldmsnoT8pKWM9ZnjCKGUOJtCtwGgKsWHUwKiSQHk6e7LUzGfcXiNTTnEFySxhqnf8KX"
    "zfPc5/uKqg+7H9/vBN+/2z0/an52HNKKo5Oeu+jptPxEP38OTsQCN7ohIq7OAsaLOJDZs4"
    "1q9VWY0gG04NnPpQdjg9n3HzmbiMTIN1pXKAoFRCfZ6ns80YHJkJTYM0Ul3M57ZDa39eBc"
    "RWjIHLALsCE15X4/1VexoZ/PW7rrDoNSKSp4BUEaIaavPGG7Yp8i6Ro/Zcntc30L36iGxB"
    "mZneDFQjlwSeP6oTB6q9voI0l3A4kLTcIFvjMXbkLJP39eFD58jMoQbTWAwC7NQVeL0YDC"
    "2q7VZoUPmUiz4LK0OaJK3Ksb26NjpXMV15il9RhnCfvEVjydqRc4HENmmnKMxwlOpqNamd"
    "lE60KYPDJCKgby7JgXxyJEIWDtvnh+2j41rI9iW0r4eQOVaGdlVDm1QrSdrmq7ymp5dAIk"
    "0EJ3oSNW+dfUMAKL0yxTGg+OGmDAO1AaNDgAm4SIAXdRBvEw4gQ4AT6PMBFXwfUOKOwpiN"
    "R29k7SVyJVqaj6SPwmLZWT4QNKcxHjkUVCyMHl8G3R8PSpkeaiQrEFhuAZt6PhR1VbL3FE"
    "bIPRLqRUn8R9LpovCB8tQfSv+jwDPJoBbnZyd/zstc8eCt5SLSFwNlo2xtlZAe+9qy1XPN"
    "rY6qmuM6zYK5FYgR6Bo1bzHjGmwmypfNhcmQ3dhq7kzBtmpWSPe4Msv3igQ4GytigAssXI"
    "PPXRKMiwHrsGUXHYzjNGA2ssKfFYSFBlsH5hcjLDzkYDgmqgLdWdRaRJ01Rbi7O40i3N0t"
    "VoSqTtvbA9jcbVXa1gliDTluTbOhW8XbuZXbzBz/i6zLkUCGoF7ZAWsWt05hqIWctaZtay"
    "KUP3uNRtWM6wxs/aT3XMSJhwRUXk6e6b/Pz7pFgnuC0Wh2sC3Af2DRYWw17FN4kIqjcutF"
    "N1ReZF1N1UHOehFQBAbhUyLhE8QCfcp3x92jTvf1YnzKxjQuZaPYo2zkHErJmekUrJRk4z"
    "nY/CRLTTYNkLOqDPuMqm3OLfnQhlhuMdM54PrJ8jmy7VBS6XRXx22OeQ0n5jFJgopKd5Ty"
    "wA29RnptSZIc0kKMUWZQfsWREiN4HSTGoqMmIXtV7MAE8CAjcHVYn4u1N4SMmG+QFBOfxi"
    "yHAf5U90jmsiRQCOT5Ve6gpBCLc/y3VkS6X0HsBswUTinkMw3ZEKoTSqQutKItJ//P83ok"
    "iRHYQ2ZyDXBdiET4evzHQmNXXTp89nxOerNzenzea5++y8iMo3bvWNU0M4ozLn3W0uRI0g"
    "n4p9N7A9RP8OWse6yLlqRd70tNzQkGglqEDi3opNmIi+OizFK7CHJk0aGkvooHpcHWwRpa"
    "QCxszBq69bFcwRleLBP+Ed6sJVuIdXq9OCLODAudgm0k5xIvbRWTI2m/sTd0eyN6Bqv6nR"
    "ADchP/MJx4YYEM15qKHcAEsPG8Z3fzwvziyukGGmojLXKbmSH15DOo1Sxyo1mXVLMGvjPj"
    "AmeRmwVe0gVW97JVBsFM77CG3fg/y7bSucSb4twQTVeaLkRFuFdv3yMXFtxs1z/5sWK3oI"
    "oSce4qpc6kzWkXE2RF95WKOT0jqEflP/czG+fSHE66XMl3ykzxDAlHMREleUcpru5PP4oX"
    "a8o0pN4AgfAmoPoADATcg66bfARmHzgBUwOoHCKVASSdoxGQctPDQv6GAkDbRr7gAIsXYI"
    "jFABAKOJJTcAAfcYG8fFLS3Ef8Rr6RE8j6iAFK5DB9CgQNO+NCyq4+AoHcOgxcxPzWU/fx"
    "Hvyxm+XLu3zSb+DMK6epSCBhAllBLnsKpNGbXIVdTXFvvL8aeZaJapde6EGn237/2Xzufm"
    "DwRA8+947bpvzXKima0+TKxupjAZmyy/AyzCFP9kG5r+Oc+nMf2sikhtLVpSroJmxocdWy"
    "gvqRQjrMUw3FuxqbR0mocgAwHFCutIDqeVw+tu/AAN4gs3J5YH+PnN16rvTbr/Kps+3mXi"
    "sJyqgfZfGY89P2ycn93y8L163KiWICWMMckrkcJjrSuSUq6F3lECILWqcckgeFFx+kKx9P"
    "pLcRw/bAJM2jmlJBDidt7pPgxeQ+shz9VUToA4PbM3wHsliSFp+FbWRpgSxVL1UFhqPma8"
    "huY6pPKzRKPq3QyH9aodDvKzl/LPT6FnD/dMWPIJ9Umd39D1KDscA="
)
