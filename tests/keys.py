"""Keys that tests make."""

from __future__ import annotations

from typing import Any

import httpx
from pydantic import SecretStr

#: Of the settings.
OWNER = "the-key-of-the-server-itself"
HAS_KEYS: dict[str, object] = {"API_KEYS": (SecretStr(OWNER),)}


def bearer(secret: str) -> dict[str, str]:
    """The header of who has this key."""
    return {"authorization": f"Bearer {secret}"}


async def made_key(client: httpx.AsyncClient, **asked: Any) -> dict[str, Any]:
    """A new key, with its secret."""
    answer = await client.post("/keys", json={"name": "somebody", **asked}, headers=bearer(OWNER))
    assert answer.status_code == 201, answer.text
    key: dict[str, Any] = answer.json()
    return key


async def secret_of(client: httpx.AsyncClient, **asked: Any) -> str:
    """The secret of a new key."""
    secret: str = (await made_key(client, **asked))["secret"]
    return secret
