"""What the handlers are given."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from app.api.access import Access
from app.jobs.doorbell import Doorbell
from app.models.reach import Reach
from app.services.resources import APIResources


def resources_of(request: Request) -> APIResources:
    """What this process has opened."""
    resources: APIResources = request.app.state.resources
    return resources


def doorbell_of(request: Request) -> Doorbell:
    """The one of this process."""
    doorbell: Doorbell = request.app.state.doorbell
    return doorbell


def access_of(request: Request) -> Access:
    """What the caller's key opens. `ApiKeys` notes it for each call: one that did not pass it fails."""
    access: Access = request.state.access
    return access


# Coroutines, as FastAPI would run plain functions in a thread each.


async def _resources(request: Request) -> APIResources:
    return resources_of(request)


async def _doorbell(request: Request) -> Doorbell:
    return doorbell_of(request)


async def _access(request: Request) -> Access:
    return access_of(request)


async def _reach(request: Request) -> Reach:
    return access_of(request).reach


Resources = Annotated[APIResources, Depends(_resources)]
Bell = Annotated[Doorbell, Depends(_doorbell)]
CallAccess = Annotated[Access, Depends(_access)]
Within = Annotated[Reach, Depends(_reach)]
