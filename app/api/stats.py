"""`GET /stats`."""

from __future__ import annotations

from fastapi import APIRouter

from app.api.call_route import CallRoute
from app.api.dependencies import Resources
from app.api.problems import problems
from app.errors import InvalidRequest
from app.schemas.stats import StatsResponse

router = APIRouter(tags=["health"], route_class=CallRoute)


@router.get("/stats", responses=problems(InvalidRequest))
async def get_stats(resources: Resources) -> StatsResponse:
    """Documents by status, the queue, the last hour, workers with what they hold, and sizes.

    At most a second old (sizes: half a minute). However many ask, the database is asked once in that time.
    """
    return StatsResponse.of(await resources.stats.now())
