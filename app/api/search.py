"""`POST /search`."""

from __future__ import annotations

from fastapi import APIRouter

from app.api.call_route import CallRoute
from app.api.dependencies import Resources, Within
from app.api.problems import problems
from app.api.rights import reads_within_reach
from app.errors import (
    EmbedderRefused,
    EmbedderUnavailable,
    EncodedBody,
    InvalidRequest,
    ModelUnavailable,
    PayloadTooLarge,
    RerankerMissing,
    RerankerUnavailable,
)
from app.schemas.search import SearchHit, SearchRequest, SearchResponse

router = APIRouter(tags=["search"], route_class=CallRoute)


@router.post(
    "/search",
    responses=problems(
        EmbedderRefused,
        EmbedderUnavailable,
        EncodedBody,
        InvalidRequest,
        ModelUnavailable,
        PayloadTooLarge,
        RerankerMissing,
        RerankerUnavailable,
    ),
)
@reads_within_reach
async def search(asked: SearchRequest, resources: Resources, reach: Within) -> SearchResponse:
    """The passages that answer a question best, with the place where each stands."""
    hits = await resources.search.search(asked.asked(), reach)
    return SearchResponse(hits=[SearchHit.of(hit) for hit in hits])
