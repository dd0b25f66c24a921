"""The errors of an operation, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from app.api.errors import status_of
from app.api.openapi import ref
from app.errors import DatabaseBusy, DatabaseUnavailable, ServiceError


def problems(*kinds: type[ServiceError]) -> dict[int | str, dict[str, Any]]:
    """FastAPI's `responses` for these errors, and for those that any operation can have."""
    found: dict[int | str, dict[str, Any]] = {}
    every: tuple[type[ServiceError], ...] = (*kinds, DatabaseUnavailable, DatabaseBusy)
    for kind in every:
        status = int(status_of(kind))
        codes = [found[status]["description"], kind.code] if status in found else [kind.code]
        found[status] = {
            "description": ", ".join(codes),
            "content": {"application/problem+json": {"schema": ref("Problem")}},
        }
    return found
