"""The calls about keys, which `AsyncSluice` has among the others."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from app.client.answers import Key, KeyCreated, KeyList
from app.client.asynchronous.connection import AsyncConnection
from app.client.calls import Call, json_body, listed
from app.client.errors import KeyNotFound

ID = UUID | str


class AsyncKeys:
    """Who is let in, and to what; for whoever has one of the server's `API_KEYS`."""

    _connection: AsyncConnection

    async def create_key(
        self,
        name: str,
        *,
        collections: Sequence[str] | str | None = None,
        may_write: bool = True,
        expires_at: datetime | None = None,
    ) -> KeyCreated:
        """Make a key for somebody else.

        What comes back has the secret that callers send: hand it on, it is never shown again. When the answer
        is lost, look whether there is one (`keys`) and remove it before you try again.

        Args:
            name: For people: who has it, and what for.
            collections: That it opens, there already or not; None is all.
            may_write: Whether it may change anything.
            expires_at: When it opens nothing any more, with a time zone; None is never.
        """
        asked = {
            "name": name,
            "collections": listed(collections),
            "may_write": may_write,
            "expires_at": None if expires_at is None else expires_at.isoformat(),
        }
        call = Call(method="POST", path="/keys", body=json_body(asked), is_repeatable=False)
        return await self._connection.get(KeyCreated, call)

    async def keys(self) -> list[Key]:
        """All that were made, oldest first, also those that have expired."""
        answer = await self._connection.get(KeyList, Call(method="GET", path="/keys"))
        return answer.keys

    async def key(self, key_id: ID) -> Key:
        """A key: what it opens, and when it was used last."""
        return await self._connection.get(Key, Call(method="GET", path=f"/keys/{key_id}"))

    async def delete_key(self, key_id: ID) -> None:
        """Have a key open nothing any more, within five seconds everywhere.

        Raises:
            KeyNotFound: There is none.
        """
        try:
            await self._connection.send(Call(method="DELETE", path=f"/keys/{key_id}"))
        except KeyNotFound as error:
            if not error.after_lost_answer:
                raise
