"""The OpenAPI document, with the schemas that FastAPI does not find by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from app.api.api_keys import OPEN_PATHS
from app.schemas.batch import BatchResponse
from app.schemas.event import DocumentEvent, ProgressEvent
from app.schemas.ingest import IngestRequest
from app.schemas.problem import Problem

REF = "#/components/schemas/{model}"


def ref(name: str) -> dict[str, str]:
    """A reference to one of the document's schemas."""
    return {"$ref": REF.format(model=name)}


#: Named in `responses` and `openapi_extra`, as plain references, or in words.
EXTRA_MODELS = (Problem, IngestRequest, BatchResponse, DocumentEvent, ProgressEvent)


#: How a key is sent; see app/api/api_keys.py.
SECURITY_SCHEMES = {
    "key": {
        "type": "http",
        "scheme": "bearer",
        "description": "One of API_KEYS, or one that was made by `POST /keys`; without, 401 `unauthorized`."
        " What a key with limits does not open is 403 `forbidden`, or not there.",
    },
    "password": {"type": "http", "scheme": "basic", "description": "The same, as the password of any user."},
}


#: Of every call that asks for a key.
REFUSALS = {
    str(status): {"description": code, "content": {"application/problem+json": {"schema": ref("Problem")}}}
    for status, code in ((401, "unauthorized"), (403, "forbidden"))
}


def with_schemas(app: FastAPI, *, has_keys: bool) -> Callable[[], dict[str, Any]]:
    """What to put in the place of `app.openapi`."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = plain()
            _, extra = models_json_schema([(model, "validation") for model in EXTRA_MODELS], ref_template=REF)
            document["components"]["schemas"] |= extra["$defs"]
            if has_keys:
                document["components"]["securitySchemes"] = SECURITY_SCHEMES
                document["security"] = [{name: []} for name in SECURITY_SCHEMES]
                for path, calls in document["paths"].items():
                    for call in calls.values():
                        if path in OPEN_PATHS:
                            call["security"] = []
                        else:
                            call["responses"] = {**REFUSALS, **call["responses"]}
        return app.openapi_schema or {}

    return openapi
