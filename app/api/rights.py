"""Which calls a key with limits may make: those that say that they know about limits, and no others."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Any, TypeVar

from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from app.api.cross_origin import SAFE_METHODS
from app.errors import Forbidden
from app.models.reach import Reach

EndpointT = TypeVar("EndpointT")

#: The attribute of an endpoint that knows about limits.
MARK = "within_reach"


class Kind(Enum):
    """What a call does."""

    READS = "reads"
    CHANGES = "changes"


def reads_within_reach(endpoint: EndpointT) -> EndpointT:
    """Declare that an endpoint changes nothing, and shows nothing that lies out of the caller's reach."""
    setattr(endpoint, MARK, Kind.READS)
    return endpoint


def changes_within_reach(endpoint: EndpointT) -> EndpointT:
    """Declare that an endpoint neither shows nor changes what lies out of the caller's reach."""
    setattr(endpoint, MARK, Kind.CHANGES)
    return endpoint


def show_to_all(routes: Iterable[BaseRoute]) -> None:
    """Declare routes of others to be about no collection at all."""
    for route in routes:
        reads_within_reach(_endpoint_of(route))


def refusal(scope: Scope, reach: Reach) -> Forbidden | None:
    """Why a call is out of reach whatever it is about; None when that is for its endpoint to say."""
    if not reach.is_limited and reach.may_write:
        return None
    endpoint = _asked_for(scope)
    if endpoint is None:
        return None
    kind = getattr(endpoint, MARK, None)
    if kind is None and reach.is_limited:
        return Forbidden("This call wants a key that opens all collections.", reach.collections)
    if kind is None:
        kind = Kind.READS if scope["method"] in SAFE_METHODS else Kind.CHANGES
    if kind is Kind.CHANGES and not reach.may_write:
        return Forbidden("This key may only read.")
    return None


def _asked_for(scope: Scope) -> Any:
    """The endpoint that will be called; None when the answer is that there is none."""
    for route in scope["app"].router.routes:
        match, _ = route.matches(scope)
        if match is Match.FULL:
            return _endpoint_of(route)
    return None


def _endpoint_of(route: BaseRoute) -> Any:
    # Of a mount, the application that is mounted.
    return getattr(route, "endpoint", None) or getattr(route, "app", route)
