"""Keys for others: what each opens, until when, and that it opens nothing any more."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Depends, Response, status

from app.api.call_route import CallRoute
from app.api.dependencies import Resources, Within
from app.api.problems import problems
from app.errors import Forbidden, InvalidRequest, KeyNotFound, OpenToAll, TooManyKeys
from app.models.api_key import ApiKey, digest_of
from app.schemas.key import KeyCreated, KeyRequest, KeyResponse, KeysResponse
from app.services.key_service import BEGINNING_CHARS, new_secret


async def _may_make_keys(reach: Within) -> None:
    """
    Raises:
        Forbidden: The caller's key was made itself: it makes none, and does not see the others.
    """
    if not reach.may_make_keys:
        raise Forbidden("Keys are made, listed and removed with one of the server's API_KEYS.")


router = APIRouter(tags=["keys"], dependencies=[Depends(_may_make_keys)], route_class=CallRoute)


@router.post(
    "/keys",
    status_code=status.HTTP_201_CREATED,
    responses=problems(Forbidden, InvalidRequest, OpenToAll, TooManyKeys),
)
async def create_key(asked: KeyRequest, response: Response, resources: Resources) -> KeyCreated:
    """Make a key that opens some collections, or all, to read or to write. The answer has its secret."""
    if not resources.settings.API_KEYS:
        raise OpenToAll
    secret = new_secret()
    key = await ApiKey.create(
        name=asked.name,
        digest=digest_of(secret.encode()),
        begins=secret[:BEGINNING_CHARS],
        collections=asked.collections,
        may_write=asked.may_write,
        expires_at=asked.expires_at,
    )
    response.headers["Location"] = f"/keys/{key.id}"
    response.headers["Cache-Control"] = "no-store"
    return KeyCreated.with_secret(key, secret)


@router.get("/keys", responses=problems(Forbidden, InvalidRequest))
async def list_keys() -> KeysResponse:
    """All keys that were made, oldest first, also those that have expired; without their secrets."""
    return KeysResponse(keys=[KeyResponse.of(key) for key in await ApiKey.all()])


@router.get("/keys/{key_id}", responses=problems(Forbidden, InvalidRequest, KeyNotFound))
async def get_key(key_id: UUID) -> KeyResponse:
    """A key: what it opens, and when it was used last."""
    return KeyResponse.of(await ApiKey.get(key_id))


@router.delete(
    "/keys/{key_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problems(Forbidden, InvalidRequest, KeyNotFound),
)
async def delete_key(key_id: UUID, resources: Resources) -> None:
    """Have a key open nothing any more: here at once, in other API processes within five seconds."""
    await ApiKey.remove(key_id)
    resources.keys.forget()
