"""Collections: what is in them, how their documents are read, and how to be rid of one."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response, status
from fastapi.exceptions import RequestValidationError

from app.api.call_route import CallRoute
from app.api.dependencies import Resources, Within
from app.api.problems import problems
from app.api.rights import changes_within_reach, reads_within_reach
from app.core.config import Settings
from app.errors import (
    CollectionBusy,
    CollectionDeleting,
    CollectionNotFound,
    EmbedderMissing,
    Forbidden,
    InvalidRequest,
)
from app.models.collection import Collection
from app.models.reach import Reach
from app.models.vector_space import VectorSpace
from app.schemas.collection import (
    CollectionPage,
    CollectionQuery,
    CollectionResponse,
    CollectionSettings,
)
from app.schemas.ingest import CollectionName

router = APIRouter(tags=["collections"], route_class=CallRoute)

Named = Annotated[CollectionName, Path()]


@router.get("/collections", responses=problems(InvalidRequest))
@reads_within_reach
async def list_collections(asked: Annotated[CollectionQuery, Query()], reach: Within) -> CollectionPage:
    """Collections by name. Their documents are counted just now, which takes a moment for millions."""
    collections = await Collection.page(reach, after=asked.after, limit=asked.limit + 1)
    page, more = collections[: asked.limit], collections[asked.limit :]
    contents = await Collection.contents([collection.name for collection in page])
    spaces = await VectorSpace.by_id()
    return CollectionPage(
        collections=[CollectionResponse.of(each, contents[each.name], spaces) for each in page],
        next_after=page[-1].name if more else None,
    )


@router.get("/collections/{name:path}", responses=problems(CollectionNotFound, InvalidRequest))
@reads_within_reach
async def get_collection(name: Named, reach: Within) -> CollectionResponse:
    """A collection with what is in it; while it is being deleted, with how much is left."""
    return await _told(name, reach)


@router.put(
    "/collections/{name:path}",
    responses={
        201: {"model": CollectionResponse, "description": "Made"},
        **problems(
            CollectionBusy,
            CollectionDeleting,
            CollectionNotFound,
            EmbedderMissing,
            Forbidden,
            InvalidRequest,
        ),
    },
)
@changes_within_reach
async def put_collection(
    name: Named, settings: CollectionSettings, response: Response, resources: Resources, reach: Within
) -> CollectionResponse:
    """Make a collection, or change its settings. One that nobody made is made by its first document.

    With another `embedder`, or the same after its model was changed, a collection is embedded anew in the
    background: `reembedding` tells how far that has come. To stop it, give the one before.
    """
    reach.require(name)
    changes = settings.model_dump(exclude_unset=True)
    if changes.get("language", "") is None:
        del changes["language"]
    if "language" in changes and changes["language"] not in (known := await Collection.languages()):
        raise InvalidRequest(f"The request is wrong: /language: must be one of {', '.join(known)}.")
    if settings.embedder is not None:
        changes["space_id"] = (await resources.embedders.space_of(settings.embedder)).id
    if await Collection.put(name, changes, check=partial(_check_overlap, settings, resources.settings)):
        response.status_code = status.HTTP_201_CREATED
    return await _told(name, reach)


def _check_overlap(
    asked: CollectionSettings, defaults: Settings, chunk_tokens: int | None, overlap_tokens: int | None
) -> None:
    """
    Raises:
        RequestValidationError: Neighbours would share more than half of a chunk: the chunker makes no such
            overlap, so that another one would hold than the one that is shown. Of the default, it makes what
            there is room for.
    """
    chunk = defaults.CHUNK_TOKENS if chunk_tokens is None else chunk_tokens
    if overlap_tokens is None or overlap_tokens * 2 <= chunk:
        return
    told = f"`overlap_tokens` ({overlap_tokens}) must be at most half of `chunk_tokens` ({chunk})"
    place = "overlap_tokens" if asked.overlap_tokens is not None else "chunk_tokens"
    raise RequestValidationError([{"type": "overlap_too_large", "loc": ("body", place), "msg": told}])


@router.delete(
    "/collections/{name:path}",
    status_code=status.HTTP_202_ACCEPTED,
    responses=problems(CollectionNotFound, InvalidRequest),
)
@changes_within_reach
async def delete_collection(name: Named, reach: Within) -> CollectionResponse:
    """Delete a collection with all that is in it.

    From this answer on, nothing of it is found or shown; the workers remove it piece by piece, and
    `GET /collections/{name}` tells how much is left, until it is 404.
    """
    if reach.covers(name):
        await Collection.begin_deletion(name)
    return await _told(name, reach)


async def _told(name: str, reach: Reach) -> CollectionResponse:
    collection = await Collection.get_or_none(name=name) if reach.covers(name) else None
    if collection is None:
        raise CollectionNotFound(name)
    contents = await Collection.contents([name])
    return CollectionResponse.of(collection, contents[name], await VectorSpace.by_id())
