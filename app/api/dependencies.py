"""What the handlers are given."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from app.jobs.doorbell import Doorbell
from app.services.resources import APIResources

# Coroutines, as FastAPI would run plain functions in a thread each.


async def _resources(request: Request) -> APIResources:
    resources: APIResources = request.app.state.resources
    return resources


async def _doorbell(request: Request) -> Doorbell:
    doorbell: Doorbell = request.app.state.doorbell
    return doorbell


Resources = Annotated[APIResources, Depends(_resources)]
Bell = Annotated[Doorbell, Depends(_doorbell)]
