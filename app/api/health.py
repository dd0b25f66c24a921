"""Is it alive, is it ready?"""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from app.api.call_route import CallRoute, takes_any_parameter
from app.api.problems import problems
from app.errors import DatabaseUnavailable
from app.models import figures

router = APIRouter(tags=["health"], route_class=CallRoute)


class Health(BaseModel):
    """The short answer that load balancers look for."""

    status: Literal["ok"] = "ok"


@router.get("/healthz")
@takes_any_parameter
async def healthz() -> Health:
    """The process answers."""
    return Health()


@router.get("/readyz", responses=problems())
@takes_any_parameter
async def readyz() -> Health:
    """The process can accept documents, for its database answers and can be written.

    Redis is not needed, and an object store for large ones only.
    """
    if not await figures.is_writable():
        raise DatabaseUnavailable  # A standby: it has the rows, and takes none.
    return Health()
